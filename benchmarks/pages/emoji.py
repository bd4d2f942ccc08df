"""Looking up emoji rows for pages, by what a reader calls them."""

from benchmarks.common.record import Row
from benchmarks.common.tables import spread
from benchmarks.emoji.rows import Rows
from benchmarks.emoji.samplings import GUIDED_INTERVAL, GUIDED_SCALE, SHIFTED
from benchmarks.emoji.sizes import GROUPED, LONG

GRIDS = {"uniform": "equal", SHIFTED: "shift 3", "fitted": "fitted"}
"""Time grids for readers: how long steps are."""
NAMES = {
    "euler": "Euler",
    "random-order": "random order",
    "adams-bashforth": "Adams–Bashforth",
    "adams-bashforth:reuse_guidance=true": "Adams–Bashforth, guidance reused",
    "multirate": "multirate 1/2, halves",
    "multirate:rank=random": "multirate 1/2, halves at random",
    "multirate:shares=0.8/0.2": "multirate 1/2, .8/.2",
    "multirate:shares=0.8/0.2,rank=random": "multirate 1/2, .8/.2 at random",
    "adaptive:exit=0.01": "adaptive, leaving at 0.01",
    "look-ahead:context_ratio=2.0": "look-ahead, context ratio 2",
}
"""Samplers for readers, where the name on the command line is not theirs."""


def sampled(
    rows: Rows,
    sampler: str,
    nfe: float,
    grid: str = "uniform",
    guided: bool = False,
    model: tuple[str, str] = (LONG, GROUPED),
) -> list[Row]:
    """A row a seed; guided is with scale 3 at t 0.1 … 0.8. model: size and training times."""
    how = {"guidance": GUIDED_SCALE, "interval": list(GUIDED_INTERVAL)} if guided else {}
    return rows.sampled(*model, sampler, nfe, grid=grid, **how)


def distance(rows: list[Row]) -> float:
    """FD, the mean over seeds."""
    return sum(row["fd"] for row in rows) / len(rows)


def distances(rows: list[Row], budget: float) -> str:
    """A cell: FD, and in brackets the evaluations used where they are not the budget's."""
    if not rows:
        return ""
    used = sum(row["nfe"] for row in rows) / len(rows)
    text = spread(row["fd"] for row in rows)
    return text if round(used, 1) == budget else f"{text} ({used:.1f})"


def name(sampler: str) -> str:
    """Of a sampler, for readers."""
    return NAMES.get(sampler, sampler)
