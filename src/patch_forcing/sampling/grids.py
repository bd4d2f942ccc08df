"""Time grids 0 = τ_0 < … < τ_K = 1."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from patch_forcing.core.errors import check_range
from patch_forcing.core.time_grid import check_grid

MAX_STEPS = 1_000_000
"""Of a run, and its evaluations: more are a slip of the finger."""


@runtime_checkable
class Grid(Protocol):
    """A rule for placing K steps."""

    def __call__(self, num_steps: int) -> list[float]:
        """K + 1 times, rising from exactly 0 to exactly 1. Raises UserError for K out of range."""
        ...


def uniform_grid(num_steps: int) -> list[float]:
    """K equal steps."""
    check_range("steps", num_steps, 1, MAX_STEPS)
    return [k / num_steps for k in range(num_steps + 1)]


@dataclass(frozen=True)
class UniformGrid:
    """K equal steps."""

    def __call__(self, num_steps: int) -> list[float]:
        return uniform_grid(num_steps)


@dataclass(frozen=True)
class ShiftedGrid:
    """τ = u/(u + shift·(1 − u)) of equal steps u: above 1, shorter steps near noise.

    The shift of Esser et al. 2024, there for the resolution of images.
    """

    shift: float = 1.6

    def __post_init__(self) -> None:
        check_range("shift", self.shift, 0.001, 1000, mend="; 1 is none")

    def __call__(self, num_steps: int) -> list[float]:
        return [u / (u + self.shift * (1 - u)) for u in uniform_grid(num_steps)]


@dataclass(frozen=True)
class QuantileGrid:
    """Steps placed by a table: quantiles[j] is where the share j/J of the steps ends.

    Between entries, linear. A fitted grid is such a table (sampling/fit.py).
    """

    quantiles: tuple[float, ...]

    def __post_init__(self) -> None:
        check_grid(self.quantiles)

    def __call__(self, num_steps: int) -> list[float]:
        last = len(self.quantiles) - 1
        places = [u * last for u in uniform_grid(num_steps)]
        return [_interpolate(self.quantiles, place) for place in places]


def _interpolate(table: Sequence[float], place: float) -> float:
    """The table between its entries, exactly the entries at whole numbers."""
    index = min(int(place), len(table) - 2)
    share = place - index
    return table[index] * (1 - share) + table[index + 1] * share


GRIDS: dict[str, type[Any]] = {"uniform": UniformGrid, "shifted": ShiftedGrid}
"""By name; a model may bring its own, "fitted"."""


def substeps(now: float, then: float, count: int) -> Sequence[float]:
    """`count` equal steps from `now` to exactly `then`, both ends included."""
    return [now + (then - now) * j / count for j in range(count)] + [then]
