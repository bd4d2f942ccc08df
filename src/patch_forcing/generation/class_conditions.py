"""Classes as conditions: numbers, names and ranges of them."""

import re
import shlex
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import ClassVar

import torch
from jaxtyping import Int64
from torch import Tensor

from patch_forcing.core.errors import UserError, unknown_name
from patch_forcing.generation.conditions import Conditions, NoConditions
from patch_forcing.generation.numbers import abridged, parse_numbers, write_numbers
from patch_forcing.models.conditions import label_error
from patch_forcing.models.dit import PatchDiT


@dataclass(frozen=True)
class ClassLabels:
    """Class numbers; one serves all images.

    names: of all classes, or empty. in_turn: the image of a seed shows class numbers[seed mod their
    count], even if there are as many seeds.
    """

    numbers: tuple[int, ...]
    names: tuple[str, ...] = ()
    in_turn: bool = False

    @property
    def labels(self) -> tuple[int, ...]:
        """The numbers."""
        return self.numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, images: slice) -> "ClassLabels":
        return ClassLabels(self.numbers[images], self.names)

    def for_seeds(self, seeds: Sequence[int]) -> "ClassLabels":
        """One for each seed: in order if there are as many, else numbers[seed mod their count]."""
        count = len(self.numbers)
        if count == len(seeds) and not self.in_turn:
            return self
        return ClassLabels(tuple(self.numbers[seed % count] for seed in seeds), self.names)

    def by_seed(self) -> "ClassLabels":
        """The same, in turn."""
        return replace(self, in_turn=True)

    def tensor(self, device: torch.device | str) -> Int64[Tensor, " B"]:
        """The numbers, one for each image."""
        return torch.tensor(self.numbers, dtype=torch.int64, device=device)

    def captions(self, seeds: Sequence[int]) -> list[str]:
        """The name of each image's class, or its number where classes have no names."""
        return [self.names[label] if self.names else str(label) for label in self.numbers]

    def record(self, image: int) -> dict[str, object]:
        """The label of one image, and the name of that class if it has one."""
        label = self.numbers[image]
        return {"label": label} | ({"class": self.names[label]} if self.names else {})

    def plan(self) -> dict[str, object]:
        """All labels as ranges; one if they are all the same."""
        one = len(set(self.numbers)) == 1
        return {"labels": abridged(write_numbers(self.numbers[:1] if one else self.numbers))}


@dataclass(frozen=True)
class Classes:
    """The classes 0 … num_classes − 1 of a model.

    names: one for each class, or empty. model: what messages call the model.
    """

    num_classes: int
    names: tuple[str, ...] = ()
    model: str = "this model"
    keyword: ClassVar[str] = "labels"

    @classmethod
    def of(cls, model: PatchDiT, name: str) -> "Classes":
        """The classes of a model, or that it has none."""
        if model.config.num_classes == 0:
            return Unconditional(model=name)
        return Classes(model.config.num_classes, model.data_info.class_names, name)

    def parse(self, text: str) -> Conditions:
        """Names, numbers and ranges with commas between them.

        "all" is each class in turn, "none" no class; unless a class is called so.
        """
        if text == "none" and text not in self.names:
            return NoConditions()
        if text == "all" and text not in self.names:
            return ClassLabels(tuple(range(self.num_classes)), self.names).by_seed()
        return self.choose(read_labels(text, self.names))

    def choose(self, values: int | str | Sequence[int | str]) -> Conditions:
        """Names and numbers of classes; a text is read as `parse` does."""
        if isinstance(values, str):
            return self.parse(values)
        if isinstance(values, int | Integral):
            values = [int(values)]
        if len(values) == 0:
            raise UserError("labels []: give one or more, or leave them out")
        return ClassLabels(tuple(map(self._number, values)), self.names)

    def first(self, limit: int) -> Conditions:
        """The first classes."""
        return self.choose(range(min(self.num_classes, limit)))

    def in_turn(self, count: int) -> Conditions:
        """0, 1, … and from the beginning again."""
        return self.choose([i % self.num_classes for i in range(count)])

    def evenly(self, count: int) -> Conditions:
        """In order, though there be fewer images than classes."""
        return self.choose([i * self.num_classes // count for i in range(count)])

    def _number(self, label: int | str) -> int:
        if isinstance(label, str):
            if label in self.names:
                return self.names.index(label)
            forms = [_form(name) for name in self.names]
            if _form(label) not in forms:
                listing = (
                    None
                    if self.model == Classes.model
                    else f"patch-forcing info {shlex.quote(self.model)}"
                )
                raise unknown_name("class", label, self.names, listing=listing)
            return forms.index(_form(label))
        if not 0 <= label < self.num_classes:
            raise label_error(int(label), self.num_classes)
        return int(label)


@dataclass(frozen=True)
class Unconditional(Classes):
    """What a model without classes knows: it refuses every label, and shows no condition."""

    num_classes: int = 0

    def parse(self, text: str) -> Conditions:
        """Raises UserError."""
        if text == "all":
            raise UserError(f"--labels all: {self.model} has no classes: leave it out")
        return super().parse(text)

    def first(self, limit: int) -> Conditions:
        """As many images as may be."""
        return NoConditions(limit)

    def in_turn(self, count: int) -> Conditions:
        """Nothing, as often."""
        return NoConditions(count)

    evenly = in_turn


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
