"""The tables of docs/results/samplers.md and docs/samplers.md."""

import math
import statistics
from itertools import pairwise
from typing import NamedTuple

from benchmarks.common.record import Row
from benchmarks.common.tables import change, lowest_bold, made, paragraph, table
from benchmarks.emoji.rows import Rows
from benchmarks.emoji.samplings import AB2, FIFTH_TWICE, REUSING, SHIFTED
from benchmarks.emoji.sizes import GROUPED, LTG
from benchmarks.pages.emoji import GRIDS, distance, distances, name, sampled

BUDGETS = (6, 8, 12, 16, 25, 50, 100)
SEEDS = ("p8", GROUPED)
"""The small models of three training seeds: size and training times."""
RANDOM, RANDOM_FIFTH = "multirate:rank=random", f"{FIFTH_TWICE},rank=random"
FRONT = [
    *((AB2, grid) for grid in ("uniform", SHIFTED, "fitted")),
    *((spec, SHIFTED) for spec in ("multirate", RANDOM, FIFTH_TWICE, RANDOM_FIFTH)),
    *((spec, "fitted") for spec in ("multirate", FIFTH_TWICE, "adaptive", "adaptive:exit=0.01")),
    ("euler", SHIFTED),
    ("euler", "uniform"),
    ("dual-loop", SHIFTED),
    ("dual-loop", "uniform"),
    ("look-ahead", "uniform"),
]
GUIDED = [
    *((AB2, grid) for grid in ("uniform", SHIFTED, "fitted")),
    (REUSING, "fitted"),
    *((FIFTH_TWICE, grid) for grid in (SHIFTED, "fitted")),
    ("adaptive", "fitted"),
    *((spec, "uniform") for spec in ("euler", "dual-loop", "look-ahead")),
]
TRAJECTORY = (AB2, "adaptive", "multirate", RANDOM, FIFTH_TWICE, "euler")


class How(NamedTuple):
    """A sampler with its budget and grid."""

    sampler: str
    nfe: int
    grid: str = "uniform"

    def __str__(self) -> str:
        return f"{name(self.sampler)} at {self.nfe}, {GRIDS[self.grid]} steps"


COMPARED = [  # ours, what it is held against, whether guided
    (How(AB2, 6, "fitted"), How("dual-loop", 50), False),
    (How(AB2, 12, SHIFTED), How("dual-loop", 50), False),
    (How(AB2, 12, SHIFTED), How("dual-loop", 50, SHIFTED), False),
    (How(AB2, 6, "fitted"), How("euler", 100), False),
    (How(AB2, 12, SHIFTED), How("euler", 100), False),
    *((How("multirate", nfe, SHIFTED), How(RANDOM, nfe, SHIFTED), False) for nfe in (6, 8, 12, 16)),
    *((How("multirate", nfe, SHIFTED), How(AB2, nfe, SHIFTED), False) for nfe in (8, 12, 16)),
    (How(AB2, 12, SHIFTED), How("dual-loop", 50), True),
    (How(AB2, 12, "fitted"), How("dual-loop", 50), True),
    (How(AB2, 16, SHIFTED), How("euler", 100), True),
    (How(REUSING, 8, "fitted"), How("euler", 50), True),
    (How(REUSING, 12, "fitted"), How("euler", 50), True),
    (How(REUSING, 8, "fitted"), How(AB2, 8, "fitted"), True),
    (How(REUSING, 12, "fitted"), How(AB2, 12, "fitted"), True),
]


def _front(rows: Rows, lines: list[tuple[str, str]], **how: object) -> str:
    cells = []
    for sampler, grid in lines:
        measured = [distances(sampled(rows, sampler, nfe, grid, **how), nfe) for nfe in BUDGETS]
        if any(measured):
            cells.append([name(sampler), GRIDS[grid], *measured])
    return table(["sampler", "steps", *map(str, BUDGETS)], lowest_bold(cells, 2))


def front(emoji: list[Row]) -> str:
    """Emoji-64 without guidance."""
    rows = [row for row in emoji if row["model"]["size"] == "emoji-64"]
    return f"{_front(Rows(rows), FRONT)}\n{paragraph(_made(rows))}"


def _made(rows: list[Row]) -> str:
    return made(*(row for row in rows if row["kind"] == "samples"))


def guided(emoji: list[Row], seconds: Row) -> str:
    """Emoji-64 with guidance; each distance beside the share that is classified as requested."""
    rows = Rows(emoji)
    budgets = (6, 8, 9, 12, 50)
    (nine,) = (row for row in seconds["rows"] if row["nfe"] == 9 and row["design"] == "ours")
    lines = []
    for sampler, grid in GUIDED:
        cells = []
        for nfe in budgets:
            samples = sampled(rows, sampler, nfe, grid, guided=True)
            if (sampler, grid, nfe) == (AB2, "fitted", 9):
                samples = [nine]
            cells.append(
                f"{samples[0]['fd']:.1f} ({samples[0]['accuracy']:.0%})" if samples else ""
            )
        lines.append([name(sampler), GRIDS[grid], *cells])
    return table(["sampler", "steps", *map(str, budgets)], lowest_bold(lines, 2))


def seeds(emoji: list[Row]) -> str:
    """Three training seeds of a small model, without guidance."""
    shown = [line for line in FRONT if line != ("multirate", "fitted")]
    return _front(Rows(emoji), shown, model=SEEDS)


def seeds_guided(emoji: list[Row]) -> str:
    """The same with guidance."""
    return f"{_front(Rows(emoji), GUIDED, guided=True, model=SEEDS)}\n{paragraph(_made(emoji))}"


def compared(long: list[Row], seeds: list[Row]) -> str:
    """Changes of the distance, of the bundled model and of each of three training seeds."""
    one, three = Rows(long), Rows(seeds)
    lines = []
    for ours, other, guided in COMPARED:
        pair = [sampled(one, *how, guided=guided) for how in (ours, other)]
        emoji_64 = change(*map(distance, pair)) if all(pair) else ""
        pair = [sampled(three, *how, guided=guided, model=SEEDS) for how in (ours, other)]
        changes = [] if not all(pair) else _paired(*pair)
        mean = change(1 + statistics.mean(changes), 1) if changes else ""
        of_seeds = ", ".join(f"{100 * one:+.0f}" for one in changes).replace("-", "−")
        lines.append(["3×" if guided else "", str(ours), str(other), emoji_64, mean, of_seeds])
    header = ["guided", "FD of", "against", "emoji-64", "three seeds", "each"]
    return table(header, lines)


def _paired(ours: list[Row], other: list[Row]) -> list[float]:
    before = {row["model"]["seed"]: row["fd"] for row in other}
    return [row["fd"] / before[row["model"]["seed"]] - 1 for row in ours]


def trajectory(report: Row) -> str:
    """Errors of solvers, and what `adaptive` saves."""
    rows = {(row["sampler"], row["grid"], row["asked"]): row for row in report["rows"]}
    places = [(grid, nfe) for grid in GRIDS for nfe in (8, 12, 16)]
    lines = []
    for sampler in TRAJECTORY:
        cells = []
        for grid, nfe in places:
            row = rows[sampler, grid, nfe]
            used = "" if round(row["nfe"], 1) == nfe else f" ({row['nfe']:.1f})"
            cells.append(f"{row['error']:.3f}{used}")
        lines.append([name(sampler), *cells])
    header = ["sampler", *(f"{GRIDS[grid]}, {nfe}" for grid, nfe in places)]
    saved = []
    for grid in GRIDS:
        shares = [1 - rows["adaptive", grid, nfe]["nfe"] / nfe for nfe in (8, 12, 16)]
        saved.append(f"{100 * min(shares):.0f} to {100 * max(shares):.0f} % on {GRIDS[grid]} steps")
    return "\n".join(
        [
            table(header, lines),
            paragraph(
                f"The RMS is over the pixels of {report['images']} images from −1 to 1.",
                f"{report['reference']} steps and half as many are "
                f"{report['reference_error']:.3f} apart.",
                made(report),
            ),
            paragraph(
                f"`adaptive` leaves out {', '.join(saved)}.",
                "At equal cost, read off a power law between budgets of Adams–Bashforth, it errs "
                f"{_at_equal_cost(rows)} less on fitted steps.",
            ),
        ]
    )


def _at_equal_cost(rows: dict[tuple[str, str, int], Row]) -> str:
    points = [(rows[AB2, "fitted", n]["nfe"], rows[AB2, "fitted", n]["error"]) for n in (8, 12, 16)]
    less = []
    for budget in (12, 16):  # below 8 there is no budget to start from
        row = rows["adaptive", "fitted", budget]
        for (few, high), (many, low) in pairwise(points):
            if few <= row["nfe"] <= many:
                power = math.log(low / high) / math.log(many / few)
                less.append(100 * (1 - row["error"] / (high * (row["nfe"] / few) ** power)))
    return f"{min(less):.0f} to {max(less):.0f} %"


def seconds(report: Row) -> str:
    """Adaptive against all patches at every step, on a CPU."""
    lines = []
    for base, row in zip(report["rows"][::2], report["rows"][1::2], strict=True):
        guided = row["sampling"]["guidance"] != 1
        faster = f"{base['seconds'] / row['seconds']:.2f}"
        numbers = [f"{one['seconds']:.1f} s" for one in (base, row)]
        what = "guided, tolerance 0.05" if guided else "not guided"
        lines.append([what, *numbers, f"{row['nfe']:.1f}", faster])
    header = ["", "adams-bashforth", "adaptive", "evaluations used by adaptive", "times faster"]
    return f"{table(header, lines)}\n{paragraph(made(report))}"


def usual_settings(emoji: list[Row]) -> str:
    """What samplers without options take with `--nfe`, and what was measured of it."""
    rows = Rows(emoji)

    def fd(sampler: str, nfe: int, guided: bool = True) -> float:
        return distance(sampled(rows, sampler, nfe, "fitted", guided))

    reused = ", ".join(f"{fd(REUSING, n):.1f} instead of {fd(AB2, n):.1f} at {n}" for n in (8, 12))
    multi = ", ".join(
        f"{change(fd('multirate', n, False), fd(AB2, n, False))} at {n}" for n in (8, 12, 16)
    )
    ltg = {"model": ("p8", LTG)}
    chosen, paper, euler = (
        distance([r for r in sampled(rows, spec, 25, **ltg) if r["model"]["seed"] != 0])
        for spec in ("dual-loop:easy_fraction=0.6,inner_steps=2", "dual-loop", "euler")
    )
    lines = [
        [
            "`adams-bashforth`",
            "reuses guidance of one scale within an interval, where the budget pays for up to 8 "
            "calls without reuse",
            f"guidance 3 at t 0.1 … 0.8 on emoji-64: FD {reused} evaluations",
        ],
        [
            "`multirate`",
            "up to 20 calls all patches move together (rates 1)",
            "with two rates, FD of emoji-64 on fitted steps against Adams–Bashforth: "
            f"{multi} evaluations",
        ],
        [
            "`dual-loop`",
            "up to 30 evaluations it takes p = 0.6, n = 2",
            f"small models of patch 8, two seeds that chose nothing, 25 evaluations: FD "
            f"{change(chosen, euler)} against Euler instead of {change(paper, euler)}; the tables "
            "have the paper's settings, `dual-loop:inner_steps=4`",
        ],
    ]
    return table(["sampler", "with `--nfe`", "measured"], lines)
