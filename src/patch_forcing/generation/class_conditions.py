"""Classes as conditions. What users write for them is read in `known_classes`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import ClassVar

import torch
from jaxtyping import Int64
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.generation.condition_check import LABELS
from patch_forcing.generation.conditions import Conditions, NoConditions
from patch_forcing.generation.known_classes import KnownClasses
from patch_forcing.generation.numbers import abridged, write_numbers
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
class Classes(KnownClasses):
    """The classes 0 … num_classes − 1 of a model, as conditions."""

    keyword: ClassVar[str] = LABELS

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
        numbers = self.read(text)
        if numbers is None:
            return NoConditions()
        labels = ClassLabels(numbers, self.names)
        return labels.by_seed() if self.means_all(text) else labels

    def choose(self, values: int | str | Sequence[int | str]) -> Conditions:
        """Names and numbers of classes; a text is read as `parse` does."""
        if isinstance(values, str):
            return self.parse(values)
        if isinstance(values, int | Integral):
            values = [int(values)]
        if len(values) == 0:
            raise UserError("labels []: give one or more, or leave them out")
        return ClassLabels(self.numbers(values), self.names)

    def first(self, limit: int) -> Conditions:
        """The first classes."""
        return self.choose(range(min(self.num_classes, limit)))

    def in_turn(self, count: int) -> Conditions:
        """0, 1, … and from the beginning again."""
        return self.choose([i % self.num_classes for i in range(count)])

    def evenly(self, count: int) -> Conditions:
        """In order, though there be fewer images than classes."""
        return self.choose([i * self.num_classes // count for i in range(count)])


@dataclass(frozen=True)
class Unconditional(Classes):
    """What a model without classes knows: it refuses every label, and shows no condition."""

    num_classes: int = 0

    def first(self, limit: int) -> Conditions:
        """As many images as may be."""
        return NoConditions(limit)

    def in_turn(self, count: int) -> Conditions:
        """Nothing, as often."""
        return NoConditions(count)

    evenly = in_turn
