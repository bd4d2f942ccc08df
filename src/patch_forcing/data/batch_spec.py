"""Which samples a step sees: arithmetic on step, batch size, seed and places, without any state.

The samples of all epochs stand in one endless row, each epoch in an order of its own. Step k of
batch size B sees positions kB to kB + B − 1 of that row. So a resumed run goes on exactly where it
stopped, and a batch is the same however many ranks share it.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from patch_forcing.core.errors import UserError, check_range
from patch_forcing.core.random import CountedGenerator


@dataclass(frozen=True)
class BatchSpec:
    """The samples of one step, or those of them that one rank reads.

    step: counted from 0. batch_size: samples of the whole step, over all ranks. seed: of the order
    of the epochs, 0 ≤ seed < 2^63. places: the wanted places within the batch; None is all of them.
    Raises UserError naming the value that is out of range.
    """

    step: int
    batch_size: int
    seed: int
    places: range | None = None

    def __post_init__(self) -> None:
        check_range("step", self.step, 0, whole=True)
        check_range("batch_size", self.batch_size, 1, whole=True)
        check_range("seed", self.seed, 0, 2**63 - 1, whole=True)
        wanted = self.places
        if wanted is not None and not (
            0 <= wanted.start < wanted.stop <= self.batch_size and wanted.step == 1
        ):
            raise UserError(
                f"places={wanted} are not in a batch of {self.batch_size}: choose a part of "
                f"range(0, {self.batch_size})"
            )

    @property
    def positions(self) -> range:
        """Where the samples stand in the endless row of all epochs."""
        first = self.step * self.batch_size
        places = range(self.batch_size) if self.places is None else self.places
        return range(first + places.start, first + places.stop)

    @property
    def next(self) -> "BatchSpec":
        """The same places of the step after this one."""
        return replace(self, step=self.step + 1)

    def share(self, rank: int, world: int) -> "BatchSpec":
        """What rank `rank` of `world` reads of the whole batch. Raises as rank_places does."""
        return replace(self, places=rank_places(self.batch_size, rank, world))

    def sample_ids(self, size: int) -> Int64[Tensor, " B"]:
        """Which of `size` samples stand at the places."""
        position = torch.arange(self.positions.start, self.positions.stop)
        epochs, turns = position // size, position % size
        ids = torch.empty_like(position)
        for epoch in epochs.unique().tolist():
            here = epochs == epoch
            ids[here] = _epoch_order(size, self.seed, epoch)[turns[here]]
        return ids

    def mirrored(self, size: int) -> Bool[Tensor, " B"]:
        """Whether the sample at each place is shown mirrored: half of the time, drawn anew in each
        pass over `size` samples.
        """
        ids, epochs = self.sample_ids(size), self.epochs(size)
        return CountedGenerator(self.seed, ids, epochs).fork("flip").uniform() < 0.5

    def epochs(self, size: int) -> Int64[Tensor, " B"]:
        """In which pass over `size` samples the sample at each place is seen."""
        return torch.arange(self.positions.start, self.positions.stop) // size


def rank_places(batch_size: int, rank: int, world: int) -> range:
    """The places of every batch that rank `rank` of `world` reads.

    Those of all ranks are the whole batch in order, without overlap, in shares that differ by one
    at most. Which sample stands at a place does not depend on `world`.
    Raises UserError if there is no such rank, or if a rank would have nothing to read.
    """
    if not 0 <= rank < world:
        raise UserError(f"rank {rank} of {world} does not exist: ranks are 0 to {world - 1}")
    if batch_size < world:
        raise UserError(
            f"batch_size={batch_size} is less than {world} ranks: choose {world} or more"
        )
    return range(rank * batch_size // world, (rank + 1) * batch_size // world)


@lru_cache(maxsize=4)
def _epoch_order(size: int, seed: int, epoch: int) -> Int64[Tensor, " {size}"]:
    keys = CountedGenerator(seed, torch.arange(size), step=epoch).fork("order").uniform()
    return keys.argsort(stable=True)
