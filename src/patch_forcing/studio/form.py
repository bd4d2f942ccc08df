"""What the fields of the page say, as settings, as a command line and as Python."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from patch_forcing.core.errors import UserError
from patch_forcing.generation.known_classes import read_labels
from patch_forcing.generation.numbers import parse_numbers, write_numbers
from patch_forcing.sampling.guidance_kinds import DEFAULT_KIND
from patch_forcing.sampling.names import DEFAULT_SAMPLER

MAX_SEEDS = 16
"""Images that the page shows at once."""
NO_CLASS = -1
"""In place of a class: no condition."""


@dataclass(frozen=True)
class Form:
    """The fields of the page, of which those stay empty that the model does not have.

    labels: class numbers, or NO_CLASS alone; none are the model's choice. prompts: a line each.
    nfe: the budget of evaluations. guidance: 1 is none. low, high: times between which it acts.
    kind: what it leads away from. seeds: as on the command line.
    """

    model: str
    labels: tuple[int, ...] = ()
    prompts: str = ""
    sampler: str = DEFAULT_SAMPLER
    nfe: float = 16
    guidance: float = 1.0
    low: float = 0.0
    high: float = 1.0
    kind: str = DEFAULT_KIND
    seeds: str = "0-3"

    @property
    def numbers(self) -> list[int]:
        """The seeds. Raises UserError for too many, one that is there twice, or what is no seed."""
        numbers = parse_numbers("seeds", self.seeds)
        if len(set(numbers)) < len(numbers):
            raise UserError(f"seeds {self.seeds!r}: one is there twice: write each once")
        if len(numbers) > MAX_SEEDS:
            raise UserError(
                f"seeds {self.seeds!r}: {len(numbers)} images, and the page shows {MAX_SEEDS}: "
                "write fewer, or copy the command line"
            )
        return numbers

    def by(self, sampler: str) -> "Form":
        """The same with another sampler."""
        return replace(self, sampler=sampler)

    def lines(self) -> list[str]:
        """The prompts that are not empty."""
        return [line.strip() for line in self.prompts.splitlines() if line.strip()]

    def condition(self, keyword: str) -> Any:
        """What is given of conditions of that keyword; None leaves it to the model.

        Raises UserError where a class and no class are chosen together.
        """
        if keyword == "prompt":
            return self.lines() or None
        if NO_CLASS in self.labels:
            if len(self.labels) > 1:
                raise UserError("no class and a class exclude each other: choose either")
            return "none"
        return list(self.labels) or None

    def options(self, conditional: bool) -> dict[str, Any]:
        """Fields of a `SampleRequest`. Without a condition there is no guidance."""
        options: dict[str, Any] = {"sampler": self.sampler.strip(), "nfe": _plain(self.nfe)}
        if conditional:
            options["guidance_scale"] = _plain(self.guidance)
            if self.guidance != 1 and (self.low, self.high) != (0, 1):
                options["guidance_interval"] = (_plain(self.low), _plain(self.high))
            if self.guidance != 1 and self.kind.strip() != DEFAULT_KIND:
                options["guidance_kind"] = self.kind.strip()
        return options


@dataclass(frozen=True)
class Wording:
    """How a form is written outside of the page.

    keyword: of the model's conditions. names: of its classes, or empty. condition, options: what is
    given (`Form.condition`, `Form.options`).
    """

    form: Form
    keyword: str
    names: tuple[str, ...]
    condition: Any
    options: dict[str, Any] = field(default_factory=dict)

    def command(self, edited: Sequence[str] = ()) -> str:
        """The line that makes the same images. edited: of an edit, the files of image and mask."""
        words = ["patch-forcing", "edit" if edited else "sample", self.form.model]
        if edited:
            words += [edited[0], "--mask", edited[1]]
        if isinstance(self.condition, str):
            words += [f"--{self.keyword}", self.condition]
        elif self.keyword == "prompt":
            words += [word for line in self.condition or () for word in ("--prompt", line)]
        elif self.condition:
            words += ["--labels", self._label_text()]
        words += ["--sampler", self.options["sampler"], "--nfe", str(self.options["nfe"])]
        if "guidance_scale" in self.options:
            words += ["--guidance", str(self.options["guidance_scale"])]
        if "guidance_interval" in self.options:
            words += ["--guidance-interval", ",".join(map(str, self.options["guidance_interval"]))]
        if "guidance_kind" in self.options:
            words += ["--guidance-kind", self.options["guidance_kind"]]
        words += ["--seeds", write_numbers(self.form.numbers)]
        return shlex.join(words)

    def python(self, edited: Sequence[str] = ()) -> str:
        """The same from Python."""
        values: dict[str, Any] = {}
        if self.condition is not None:
            condition = self.condition
            if self.keyword == "labels" and not isinstance(condition, str):
                unique = self.names and len(set(self.names)) == len(self.names)
                condition = [self.names[label] for label in condition] if unique else condition
            one = isinstance(condition, list) and len(condition) == 1
            values[self.keyword] = condition[0] if one else condition
        seeds = self.form.numbers
        values["seeds"] = _Range(seeds) if seeds == list(range(len(seeds))) else seeds
        values |= self.options
        call, given = "pipe", []
        if edited:
            call, given = "pipe.edit", [repr(edited[0]), f"mask={edited[1]!r}"]
        given += [f"{name}={value!r}" for name, value in values.items()]
        return (
            "import patch_forcing as pf\n\n"
            f"pipe = pf.load({self.form.model!r})\n"
            f"result = {call}({', '.join(given)})\n"
            'result.sheet().save("sheet.png")'
        )

    def _label_text(self) -> str:
        """Names with commas between them, or numbers where names would be read otherwise."""
        labels = list(self.condition)
        if self.names:
            written = [self.names[label] for label in labels]
            text = ",".join(written)
            unique = all(self.names.count(name) == 1 for name in written)
            if unique and text not in ("all", "none") and read_labels(text, self.names) == written:
                return text
        return ",".join(map(str, labels))


class _Range:
    """Seeds from 0 as Python writes them."""

    def __init__(self, seeds: Sequence[int]):
        self._count = len(seeds)

    def __repr__(self) -> str:
        return f"range({self._count})"


def _plain(number: float) -> float:
    """16 for 16.0."""
    return int(number) if number == int(number) else number
