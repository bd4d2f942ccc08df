"""Sizes of about as many pixels for images of several aspects, and which step has which of them.

As in NovelAI's and SDXL's training, each batch is of one size. Here the order of sizes is
arithmetic, as that of samples is: see `turn`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.core.random import CountedGenerator
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.images import MAX_ASPECT

_APART = 0.2
"""By how much logarithms of aspects differ at least: images then lose a tenth of a side at most."""
FEWEST, SMALLEST_SHARE = 4, 0.02
"""Images of a bucket, and its share of all, below which its images go to the nearest other one."""
_GOLDEN = 0x9E3779B97F4A7C15


class Size(NamedTuple):
    """Height and width."""

    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.height}×{self.width}"

    @property
    def aspect(self) -> float:
        """Width over height."""
        return self.width / self.height


def bucket_sizes(size: int, multiple: int) -> list[Size]:
    """Sizes of at most size² pixels whose sides are multiples of `multiple`, from high to wide.

    None has room for one more row or column. Raises UserError if `multiple` does not divide `size`.
    """
    if multiple < 1 or size % multiple:
        raise UserError(
            f"data.buckets={multiple} does not divide data.size={size}: choose a multiple of the "
            "patch size that does, or another --data.size"
        )
    side = size // multiple
    most = side * side
    chosen = [(side, side)]
    for rows in range(side + 1, 2 * side + 1):  # of aspects up to MAX_ASPECT
        columns = most // rows
        fits = columns and rows == most // columns and rows <= MAX_ASPECT * columns
        before = chosen[-1]
        step = np.log(rows / columns) - np.log(before[0] / before[1]) if fits else 0.0
        if step >= _APART:
            chosen.append((rows, columns))
    grids = [*reversed(chosen), *((columns, rows) for rows, columns in chosen[1:])]
    return [Size(rows * multiple, columns * multiple) for rows, columns in grids]


@dataclass(frozen=True)
class Buckets:
    """Which image is of which size. numbers: of the images of each size, ascending."""

    sizes: tuple[Size, ...]
    numbers: tuple[Int64[np.ndarray, " _"], ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many images each size has."""
        return {str(size): len(of) for size, of in zip(self.sizes, self.numbers, strict=True)}


def in_buckets(
    aspects: Sequence[float], sizes: Sequence[Size], fewest: int | None = None
) -> Buckets:
    """Each image with the size of the nearest aspect, where enough images are; in order of sizes.

    aspects: width over height. fewest: images that a size needs; None: see FEWEST, 0: any number.
    Sizes without images are left out; the one that has most stays in any case.
    """
    logs = np.log(np.asarray(aspects, np.float64))
    least = max(FEWEST, SMALLEST_SHARE * len(logs)) if fewest is None else max(fewest, 1)
    kept = list(sizes)
    while True:
        nearest = np.abs(logs[:, None] - np.log([size.aspect for size in kept])).argmin(axis=1)
        counts = np.bincount(nearest, minlength=len(kept))
        rarest = int(counts.argmin())
        if counts[rarest] >= least or len(kept) == 1:
            break
        del kept[rarest]
    return Buckets(tuple(kept), tuple(np.flatnonzero(nearest == k) for k in range(len(kept))))


def crops(aspects: Float[Tensor, " B"], size: Size) -> Float[Tensor, "B 4"]:
    """Top, left, bottom and right of the middle that is seen, as shares of pictures."""
    seen = aspects / size.aspect  # above 1: so much wider than what is seen
    height, width = seen.clamp(max=1.0), (1 / seen).clamp(max=1.0)
    corner = torch.stack([(1 - height) / 2, (1 - width) / 2], dim=1)
    return torch.cat([corner, 1 - corner], dim=1)


def turn(spec: BatchSpec, counts: Sequence[int]) -> tuple[int, BatchSpec]:
    """Which bucket a step is of, and which samples of that bucket it sees.

    counts: images of each bucket, M in all. Steps stand in one endless row of cycles of M, each in
    an order of its own. A bucket of n images has n steps in a cycle, spread over it, so that all
    images are seen as often. Its steps are numbered through, each as a BatchSpec of the bucket.
    """
    cycle, place = divmod(spec.step, sum(counts))
    buckets, turns = _cycle(tuple(counts), spec.seed, cycle)
    bucket = int(buckets[place])
    step = cycle * counts[bucket] + int(turns[place])
    seed = (spec.seed + bucket * _GOLDEN) % 2**63  # equal places of buckets are not alike
    return bucket, BatchSpec(step, spec.batch_size, seed, spec.places)


@lru_cache(maxsize=4)
def _cycle(
    counts: tuple[int, ...], seed: int, cycle: int
) -> tuple[Int64[np.ndarray, " M"], Int64[np.ndarray, " M"]]:
    """The bucket of each step, and how many of its steps were before in this cycle."""
    total = sum(counts)
    shares = CountedGenerator(seed, torch.arange(total), cycle).fork("buckets").uniform().numpy()
    buckets = np.repeat(np.arange(len(counts)), counts)
    turns = np.concatenate([np.arange(count) for count in counts])
    # the k-th of n steps falls into the k-th n-th of the cycle
    times = (turns + shares.astype(np.float64)) / np.repeat(counts, counts)
    order = times.argsort(kind="stable")
    return buckets[order], turns[order]
