"""Under what condition images are made: what everything that samples needs to know of it.

A `ConditionKind` belongs to a model. It reads what users write and give, and knows what to show
where nobody chooses. The `Conditions` that it makes are immutable, and the image is their first
axis. Sampling, galleries, shards and benchmarks slice them and never look inside.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Shaped
from torch import Tensor

from patch_forcing.models.dit import PatchDiT


@runtime_checkable
class Conditions(Protocol):
    """One condition for all images, or one for each of them."""

    @property
    def labels(self) -> tuple[int, ...] | None:
        """Class numbers; None where conditions are no classes."""

    def __len__(self) -> int:
        """How many conditions there are."""

    def __getitem__(self, images: slice) -> "Conditions":
        """Those of a range of images."""

    def for_seeds(self, seeds: Sequence[int]) -> "Conditions":
        """One for each of these seeds: in order if there are as many, else as `by_seed` says."""

    def by_seed(self) -> "Conditions":
        """The same, of which the image of a seed is made under the one at seed mod their count."""

    def tensor(self, device: torch.device | str) -> Shaped[Tensor, "B ..."] | None:
        """What the network takes; None is the null condition for all."""

    def captions(self, seeds: Sequence[int]) -> list[str]:
        """What a sheet writes below the image of each seed."""

    def record(self, image: int) -> dict[str, object]:
        """What `samples.json` says of one image."""

    def plan(self) -> dict[str, object]:
        """What the plan of an array of images says of all."""


@runtime_checkable
class ConditionKind(Protocol):
    """The conditions that a model knows.

    keyword: the argument of a pipeline's call, and the option of a command, that gives them.
    """

    keyword: ClassVar[str]

    @classmethod
    def of(cls, model: PatchDiT, name: str) -> "ConditionKind":
        """Those of a model, which messages call by this name."""

    def parse(self, text: str) -> Conditions:
        """What a user wrote after that option. Raises UserError, naming the part that is wrong."""

    def choose(self, values: Any) -> Conditions:
        """What a user gave as that argument; a text is read as by `parse`, unless conditions are
        texts themselves.

        Raises UserError, naming the value that is wrong.
        """

    def first(self, limit: int) -> Conditions:
        """For a preview: as many different conditions as there are, `limit` at most."""

    def in_turn(self, count: int) -> Conditions:
        """For a benchmark: `count` conditions, every one as often as the others."""

    def evenly(self, count: int) -> Conditions:
        """For a fit: `count` conditions in order, spread over all that there are."""


@dataclass(frozen=True)
class NoConditions:
    """Of `count` images that are made under no condition: the network is given the null."""

    count: int = 1

    @property
    def labels(self) -> None:
        """None."""

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, images: slice) -> "NoConditions":
        return NoConditions(len(range(self.count)[images]))

    def for_seeds(self, seeds: Sequence[int]) -> "NoConditions":
        """As many as seeds."""
        return NoConditions(len(seeds))

    def by_seed(self) -> "NoConditions":
        """The same."""
        return self

    def tensor(self, device: torch.device | str) -> None:
        """None."""

    def captions(self, seeds: Sequence[int]) -> list[str]:
        """The seeds."""
        return [f"seed {seed}" for seed in seeds]

    def record(self, image: int) -> dict[str, object]:
        """An image without a label."""
        return {"label": None}

    def plan(self) -> dict[str, object]:
        """Images without labels."""
        return {"labels": None}
