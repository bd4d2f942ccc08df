"""What the emoji benchmark samples: budgets, samplers, grids and guidance of its tables."""

from collections.abc import Iterator

from benchmarks.common.tasks import Sampling
from benchmarks.emoji.sizes import SIZES
from patch_forcing.core.registry import build
from patch_forcing.sampling.grids import uniform_grid
from patch_forcing.sampling.guidance import Interval
from patch_forcing.sampling.samplers import SAMPLERS, count_evaluations

BUDGETS = (25, 50, 100)
PAPER = ("dual-loop", "random-order", "look-ahead")
"""With the paper's settings: easy_fraction 0.4, inner_steps 4, context_ratio 1.4."""
GRID = {  # the paper's own settings go by the bare name, so that nothing is sampled twice
    "dual-loop": [
        "dual-loop" if (p, n) == (0.4, 4) else f"dual-loop:easy_fraction={p},inner_steps={n}"
        for p in (0.2, 0.4, 0.6)
        for n in (2, 4)
    ],
    "look-ahead": [
        "look-ahead" if (p, r) == (0.4, 1.4) else f"look-ahead:easy_fraction={p},context_ratio={r}"
        for p in (0.2, 0.4, 0.6)
        for r in (1.1, 1.4, 2.0)
    ],
}
"""What is searched on seed 0, at 50 evaluations, and reported on the other seeds."""
MOVING_STEPS = 12
MOVING = [  # dual-loop computing everything in its inner evaluations, or less and less
    f"dual-loop:easy_fraction={p}{computes}"
    for p in (0.4, 0.7)
    for computes in ("", *(f",evaluate=moving,refresh={often}" for often in (2, 0)))
]
"""At equal steps, so that what is left out is all that differs."""
RATIOS = ["look-ahead:context_ratio=1.1", "look-ahead:context_ratio=2.0"]
"""Beside the paper's 1.4, where the grid is not searched."""
SECOND_ORDER = ["adams-bashforth", "multirate:context=ahead", "multirate"]
"""Adams–Bashforth for all patches together, and with the harder half at twice the rate: seeing the
others' keys and values held, or carried on."""
AB2, FIFTH_TWICE, SHIFTED = SECOND_ORDER[0], "multirate:shares=0.8/0.2", "shifted:shift=3"
REUSING = f"{AB2}:reuse_guidance=true"
FRONT_BUDGETS = (6, 8, 12, 16, 25)
FRONT = [  # sampler, grid: what few evaluations reach
    *((AB2, grid) for grid in ("uniform", SHIFTED, "fitted")),
    ("multirate", SHIFTED),
    (FIFTH_TWICE, SHIFTED),
    (f"{FIFTH_TWICE},rank=random", SHIFTED),
    ("multirate:rank=random", SHIFTED),
    ("euler", SHIFTED),
    ("multirate", "fitted"),
    (FIFTH_TWICE, "fitted"),
    *((spec, "fitted") for spec in ("adaptive", "adaptive:exit=0.01")),
]
FRONT_LONG = [("euler", SHIFTED), ("dual-loop", SHIFTED)]
"""The same grid at 50 evaluations."""
FRONT_GUIDED = [
    *FRONT[:3],
    *((REUSING, grid) for grid in (SHIFTED, "fitted")),
    *((FIFTH_TWICE, grid) for grid in (SHIFTED, "fitted")),
    *((spec, "fitted") for spec in ("adaptive", "adaptive:tolerance=0.05")),
]
GUIDED_SCALE, GUIDED_INTERVAL = 3.0, (0.1, 0.8)
"""The best of these at 50 evaluations."""
DEFAULT_NFE = 37
"""What `sample emoji-64` takes if nothing is said: 24 steps, 13 of them guided."""
SCALES = (1.5, 2.0, GUIDED_SCALE, 4.0)
INTERVALS: tuple[Interval | None, ...] = (None, GUIDED_INTERVAL)


def front() -> Iterator[Sampling]:
    """Few evaluations, without guidance and with it."""
    for nfe in FRONT_BUDGETS:
        yield from (Sampling(spec, nfe, grid=grid) for spec, grid in FRONT)
    yield from (Sampling(spec, 50, grid=grid) for spec, grid in FRONT_LONG)
    for nfe in FRONT_BUDGETS:
        for spec, grid in FRONT_GUIDED:
            yield Sampling(spec, nfe, GUIDED_SCALE, GUIDED_INTERVAL, grid)
    yield Sampling(AB2, DEFAULT_NFE, GUIDED_SCALE, GUIDED_INTERVAL, "fitted")


def front_of_seeds() -> Iterator[Sampling]:
    """What the front's bars are held against, for means over training seeds."""
    yield from _compared(1.0, None)
    yield from _compared(GUIDED_SCALE, GUIDED_INTERVAL)
    for nfe in (8, 12):
        for spec in ("multirate", "multirate:rank=random"):
            yield Sampling(spec, nfe, grid=SHIFTED)
        for spec in (AB2, "multirate"):
            yield Sampling(spec, nfe)
    for spec in ("multirate", "adaptive"):
        yield Sampling(spec, 8, grid="fitted")


def _compared(scale: float, interval: Interval | None) -> Iterator[Sampling]:
    """Few evaluations of ours, and what they are to be held against."""
    for spec in (AB2,) if scale == 1 else (AB2, REUSING):
        for nfe in FRONT_BUDGETS:
            yield Sampling(spec, nfe, scale, interval, "fitted")
        for nfe in FRONT_BUDGETS[1:]:
            yield Sampling(spec, nfe, scale, interval, SHIFTED)
    for spec in ("dual-loop", "look-ahead"):
        yield Sampling(spec, 50, scale, interval)
    yield Sampling("euler", 100, scale, interval)


def cost(spec: str, size: str) -> float:
    """Evaluations of MOVING_STEPS steps."""
    sampler = build("sampler", SAMPLERS, spec)
    return count_evaluations(sampler, uniform_grid(MOVING_STEPS), SIZES[size].patches)
