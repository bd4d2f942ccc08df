"""Distances between features, and the balls that images reach, in rows that fit into memory."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

ROWS = 1024
"""Rows of the distance matrix computed at once: 10,000 × 1,024 distances are 80 MB."""
_SAME = 1e-12
"""Squared distances below this share of the squared norms are rounding: the images are the same."""
_KEPT = 48
"""Fellows of an image that are remembered, for the balls of parts of a set."""


def centred(*sets: Float[Tensor, "_ F"]) -> list[Float[Tensor, "_ F"]]:
    """In fp64, with the mean of the first set as origin, so that products lose no digits."""
    wide = [features.double() for features in sets]
    origin = wide[0].mean(0)
    return [features - origin for features in wide]


def squared(a: Float[Tensor, "A F"], b: Float[Tensor, "B F"]) -> Float[Tensor, "A B"]:
    """Squared distances of centred features; exactly 0 between equal ones."""
    norms = a.square().sum(1)[:, None] + b.square().sum(1)
    squares = norms - 2 * a @ b.mT
    return squares.masked_fill_(squares <= _SAME * norms, 0.0)


def reach(members: Float[Tensor, "M F"], neighbours: int) -> Float[Tensor, " M"]:
    """Squared distance of each member to its `neighbours`-th nearest fellow."""
    return Fellows.of(members, neighbours).reach(neighbours)


class Pairs(NamedTuple):
    """Points in balls of members: point `points[k]` has the squared distance to `members[k]`."""

    points: Int64[Tensor, " K"]
    members: Int64[Tensor, " K"]
    distances: Float[Tensor, " K"]


def pairs_within(
    points: Float[Tensor, "P F"], members: Float[Tensor, "M F"], reach: Float[Tensor, " M"]
) -> Pairs:
    """All points in balls of that squared reach around members."""
    pairs: list[tuple[Tensor, Tensor, Tensor]] = []
    for first, part in _rows(points):
        distances = squared(part, members)
        rows, columns = (distances <= reach).nonzero(as_tuple=True)
        pairs.append((rows + first, columns, distances[rows, columns]))
    return Pairs(*(torch.cat(column) for column in zip(*pairs, strict=True)))


class Fellows(NamedTuple):
    """The nearest fellows of each of M members, the nearest first: squared distances, and which."""

    distances: Float[Tensor, "M K"]
    members: Int64[Tensor, "M K"]

    @classmethod
    def of(cls, members: Float[Tensor, "M F"], count: int = _KEPT) -> "Fellows":
        """So many of them, or all."""
        count = min(count, len(members) - 1)
        nearest = []
        for first, part in _rows(members):
            distances = squared(part, members)
            own = torch.arange(len(part), device=part.device)
            distances[own, own + first] = torch.inf
            nearest.append(distances.topk(count, largest=False))
        return cls(*(torch.cat(column) for column in zip(*nearest, strict=True)))

    def reach(self, neighbours: int) -> Float[Tensor, " M"]:
        """Squared distance to the `neighbours`-th nearest fellow."""
        return self.distances[:, neighbours - 1]

    def reaches(self, neighbours: int, parts: Bool[Tensor, "P M"]) -> Float[Tensor, "P M"]:
        """The same among the fellows in each part of the set.

        If it is not remembered, to the last that is: a chance of 1e-4 for a quarter of a set.
        """
        reaches = self.distances.new_empty(parts.shape)
        last = self.distances.shape[1] - 1
        for row, part in zip(reaches, parts, strict=True):
            before = part[self.members].cumsum(1, dtype=torch.int8) < neighbours
            place = before.sum(1).clamp(max=last)
            row.copy_(self.distances.gather(1, place[:, None])[:, 0])
        return reaches


def _rows(features: Float[Tensor, "M F"]) -> Iterator[tuple[int, Float[Tensor, "_ F"]]]:
    for first in range(0, len(features), ROWS):
        yield first, features[first : first + ROWS]
