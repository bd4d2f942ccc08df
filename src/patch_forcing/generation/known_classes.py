"""Classes as users write them: numbers, names and ranges of them. No torch is needed."""

import re
import shlex
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from patch_forcing.core.errors import UserError, unknown_name
from patch_forcing.generation.numbers import parse_numbers
from patch_forcing.models.class_names import label_error


@dataclass(frozen=True)
class KnownClasses:
    """The classes 0 … num_classes − 1 of a model, by number and by name.

    names: one for each class, or empty. model: what messages call the model.
    """

    num_classes: int
    names: tuple[str, ...] = ()
    model: str = "this model"

    def read(self, text: str) -> tuple[int, ...] | None:
        """The classes of names, numbers and ranges with commas between them.

        "all" is each class, "none" is None, unless a class is called so. Raises UserError, naming
        the part that is wrong.
        """
        if text == "none" and text not in self.names:
            return None
        if not self.means_all(text):
            return self.numbers(read_labels(text, self.names))
        if self.num_classes == 0:
            raise UserError(f"--labels all: {self.model} has no classes: leave it out")
        return tuple(range(self.num_classes))

    def means_all(self, text: str) -> bool:
        """Whether it is "all", and no class's name."""
        return text == "all" and text not in self.names

    def numbers(self, labels: Iterable[int | str]) -> tuple[int, ...]:
        """Those of names and numbers. Raises UserError for one that is none."""
        return tuple(map(self._number, labels))

    def _number(self, label: int | str) -> int:
        if isinstance(label, str):
            if label in self.names:
                return self.names.index(label)
            forms = [_form(name) for name in self.names]
            if _form(label) not in forms:
                named = self.model != KnownClasses.model
                listing = f"patch-forcing info {shlex.quote(self.model)}" if named else None
                raise unknown_name("class", label, self.names, listing=listing)
            return forms.index(_form(label))
        if not 0 <= label < self.num_classes:
            raise label_error(int(label), self.num_classes)
        return int(label)


def read_labels(text: str, names: Sequence[str]) -> list[int | str]:
    """Class names, numbers and ranges; a number that is a name is that class, in a range too.

    From the left, the longest run of parts between commas that is a class's name is that class; a
    name as it is written comes before one that differs in spaces at its ends, or in how its accents
    are written.
    """
    known = {_form(name): name for name in reversed(names)} | {name: name for name in names}
    longest = 1 + max((name.count(",") for name in names), default=0)
    labels: list[int | str] = []
    parts, start = text.split(","), 0
    while start < len(parts):
        for stop in range(min(start + longest, len(parts)), start, -1):
            written = ",".join(parts[start:stop])
            name = known.get(written, known.get(_form(written)))
            if name is not None:
                labels.append(name)
                break
        else:  # `stop` is start + 1
            labels += _numbered(parts[start].strip(), known)
        start = stop
    return labels


def _form(name: str) -> str:
    """Without spaces at its ends. Accents are one with their letter, which a Mac writes apart."""
    return unicodedata.normalize("NFC", name).strip()


def _numbered(part: str, known: Mapping[str, str]) -> list[int | str]:
    """The classes of a number or a range: each the name that is this number, or else the number.

    A name may write it otherwise, as 7 is written 007.
    """
    written = re.fullmatch(r"(\d+)(-\d+)?", part)
    if written is None:
        return [part]
    numbers, digits = parse_numbers("--labels", part), len(written[1])
    by_number: dict[int, list[str]] = {}
    for name in sorted(set(known.values())):
        if re.fullmatch(r"\s*\d{1,19}\s*", name):
            by_number.setdefault(int(name), []).append(name)
    labels: list[int | str] = []
    for number in numbers:
        likely = by_number.get(number, [])
        exact = known.get(str(number).zfill(digits), known.get(str(number)))
        if exact is None and len(likely) > 1:
            raise UserError(
                f"--labels {part}: {number} is {likely[0]!r} or {likely[1]!r}: write the one meant"
            )
        labels.append(exact if exact is not None else likely[0] if likely else number)
    return labels
