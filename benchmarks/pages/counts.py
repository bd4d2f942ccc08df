"""The table of a page on which times of training teach a layout, from docs/results/counts.jsonl."""

from math import log
from statistics import NormalDist

from benchmarks.common.record import Row
from benchmarks.common.tables import made, paragraph, spread, table
from patch_forcing.core.registry import build
from patch_forcing.core.timesteps import (
    TIMESTEPS,
    LogitNormalTruncatedGaussian,
    SharedLogitNormal,
    SharedUniform,
)

EARLY = 0.1


def layouts(rows: list[Row]) -> str:
    """A line for each distribution, the mean over training seeds."""
    lines = []
    for times in dict.fromkeys(row["times"] for row in rows):
        own = [row for row in rows if row["times"] == times]
        shares = [
            f"{spread(100 * row['right'][grid]['share'] for row in own)} %"
            for grid in own[0]["right"]
        ]
        more = spread((row["errors"]["0.0"] / row["mean_image"] - 1) * 100 for row in own)
        lines.append([f"`{times}`", f"{100 * early(times):.1f} %", *shares, f"{more} %"])
    header = [
        "times",
        f"images before t = {EARLY}",
        *(f"counts right, {grid} steps" for grid in rows[0]["right"]),
        "error at t = 0, above the best",
    ]
    seeds = len({row["seed"] for row in rows})
    samples = rows[0]["samples"]
    about = (
        f"{rows[0]['steps']:,} steps of 32; training seeds: {seeds} where ± stands, else 1; "
        f"{samples} samples each, "
        f"± {100 * rows[0]['right']['uniform']['width']:.0f} points at most; chance is 25 %. "
        f"{made(*rows)}"
    )
    return f"{table(header, lines)}\n{paragraph(about)}"


def early(times: str) -> float:
    """Share of images whose latest possible time is before EARLY, in closed form."""
    sampler = build("timesteps", TIMESTEPS, times)
    if isinstance(sampler, SharedUniform):
        return EARLY
    assert isinstance(sampler, SharedLogitNormal | LogitNormalTruncatedGaussian)
    return NormalDist().cdf((log(EARLY / (1 - EARLY)) - sampler.loc) / sampler.scale)
