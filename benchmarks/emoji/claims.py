"""What the emoji benchmark measures: for each claim the trainings and the samples it needs."""

from collections.abc import Iterator
from dataclasses import asdict

from benchmarks.common.record import Row
from benchmarks.common.tasks import Sampling
from benchmarks.emoji.samplings import (
    BUDGETS,
    GRID,
    INTERVALS,
    MOVING,
    PAPER,
    RATIOS,
    SCALES,
    SECOND_ORDER,
    cost,
    front,
    front_of_seeds,
)
from benchmarks.emoji.sizes import (
    GROUPED,
    HALF_RATE,
    HEADLINE,
    LOGIT_NORMAL,
    LTG,
    OTHERS,
    SIT,
    Model,
    is_latent,
    is_long,
)

Measured = tuple[Model, list[Sampling]]
SEEDS = (0, 1, 2)


def claims(size: str, tables: list[str], rows: list[Row]) -> Iterator[Measured]:
    """Every model that the tables need, with what is measured on it; an empty list: difficulty.

    rows: results so far; the search on seed 0 decides what is sampled from the others.
    """
    if is_long(size):
        yield from claims_of_one(Model(size, GROUPED, 0), tables)
        return
    if size == HALF_RATE:  # what the rate that patch 4's SiT needs costs another distribution
        if "timesteps" in tables:
            yield Model(size, LTG, 0), [Sampling("euler", 50)]
        return
    if is_latent(size):
        if "samplers" in tables:
            every = [Sampling(spec, 50) for spec in ("euler", *PAPER, *RATIOS)]
            yield Model(size, GROUPED, 0), every
        return
    sweeps = size != "p4"  # patch 4, four times as dear, has the headline rows alone
    if "timesteps" in tables:
        models = [Model(size, name, seed) for name in HEADLINE for seed in SEEDS]
        if sweeps:
            models += [Model(size, LOGIT_NORMAL, seed) for seed in SEEDS]
            models += [Model(size, name, 0) for name in OTHERS]
        yield from ((model, [Sampling("euler", 50)]) for model in models)
    if "samplers" in tables:
        yield from sweep(size, rows) if sweeps else headline(size)
    if "difficulty" in tables:
        yield from ((Model(size, name, seed), []) for seed in SEEDS for name in (LTG, GROUPED))
    if "front" in tables and sweeps:
        yield from ((Model(size, GROUPED, seed), list(front_of_seeds())) for seed in SEEDS)


def sweep(size: str, rows: list[Row]) -> Iterator[Measured]:
    """Samplers at every budget; what the search on seed 0 finds best, on all seeds."""
    yield Model(size, LTG, 0), [Sampling(spec, 50) for specs in GRID.values() for spec in specs]
    chosen = [best_of(size, LTG, name, rows) for name in GRID]
    yield from _of_seeds(size, ["random-order", *filter(None, chosen)], BUDGETS)


def headline(size: str) -> Iterator[Measured]:
    """Samplers at 50 evaluations, without a search."""
    yield Model(size, LTG, 0), [Sampling(spec, 50) for spec in ("random-order", *RATIOS)]
    yield Model(size, LOGIT_NORMAL, 0), [Sampling("euler", 50)]
    yield from _of_seeds(size, [], (50,))


def _of_seeds(size: str, more: list[str], budgets: tuple[int, ...]) -> Iterator[Measured]:
    """The paper's samplers on every seed, and `more` of them on LTG."""
    paper = ["euler", "dual-loop", "look-ahead"]
    for name, specs in {SIT: ["euler"], LTG: [*paper, *more], GROUPED: paper}.items():
        every = [Sampling(spec, nfe) for spec in dict.fromkeys(specs) for nfe in budgets]
        yield from ((Model(size, name, seed), every) for seed in SEEDS)


def claims_of_one(model: Model, tables: list[str]) -> Iterator[Measured]:
    """Of the model that was trained longest: what short trainings cannot tell."""
    if "samplers" in tables:
        specs = ["euler", *PAPER, *RATIOS, *SECOND_ORDER]
        yield model, [Sampling(spec, nfe) for spec in specs for nfe in BUDGETS]
    if "difficulty" in tables:
        yield model, []
    if "guidance" in tables:
        kinds = ("euler", "dual-loop", "look-ahead")
        guided = [(scale, interval) for scale in SCALES for interval in INTERVALS]
        yield model, [Sampling(sampler, 50, *how) for sampler in kinds for how in guided]
    if "front" in tables:
        yield model, list(front())
    if "moving" in tables:
        yield model, [Sampling(spec, cost(spec, model.size)) for spec in MOVING]


def best_of(size: str, timesteps: str, kind: str, rows: list[Row]) -> str | None:
    """The sampler of that kind with the lowest distance on seed 0 at 50 evaluations."""
    searched = [
        row
        for row in rows
        if row["model"] == asdict(Model(size, timesteps, 0))
        and row["kind"] == "samples"
        and row["sampling"]["sampler"] in GRID[kind]
        and row["sampling"]["nfe"] == 50
        and row["sampling"]["guidance"] == 1
        and row["sampling"]["grid"] == "uniform"
    ]
    if len(searched) < len(GRID[kind]):
        return None
    return min(searched, key=lambda row: row["fd"])["sampling"]["sampler"]
