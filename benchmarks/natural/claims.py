"""What the benchmark of natural images measures: trainings, and the samples of each."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace

from benchmarks.common.record import Row
from benchmarks.common.tasks import Sampling
from benchmarks.natural.settings import GROUPED, HEADLINE, LTG, OTHERS, SIT, Model
from patch_forcing.sampling.guidance import Interval

Claim = tuple[Model, list[Sampling]]
SEEDS = (0, 1, 2)
BUDGETS = (12, 24, 48, 96)
MAIN = Sampling("euler", 48)
"""By which trainings are compared."""
AB2 = "adams-bashforth"
SHIFTS = ("shifted:shift=1.6", "shifted:shift=3")
GRIDS = ("uniform", "shifted:shift=0.6", *SHIFTS, "fitted")
PLAIN = ("euler", AB2, "heun", "euler-maruyama")
"""Samplers that treat all patches alike."""
PATCHWISE = ("random-order", "dual-loop", "look-ahead")
"""The paper's. With its settings: easy_fraction 0.4, inner_steps 4, context_ratio 1.4."""
SEARCH = {
    "dual-loop": [
        f"dual-loop:easy_fraction={p},inner_steps={n}" for p in (0.2, 0.4, 0.6) for n in (2, 4)
    ],
    "look-ahead": [
        f"look-ahead:easy_fraction={p},context_ratio={r}"
        for p in (0.2, 0.4, 0.6)
        for r in (1.1, 1.4, 2.0)
    ],
}
"""Options that are tried on seed 0; the best are reported on the others."""
FEW = (4, 6, 8)
SCALES = (1.25, 1.5, 2.0, 3.0)
INTERVALS: tuple[Interval | None, ...] = (None, (0.1, 0.8))
RATES = (("muon", 5e-4), ("muon", 2e-3), ("adamw", 3e-4), ("adamw", 1e-3))
"""Beside the recipe's."""
LENGTHS = (5000, 10_000, 20_000, 40_000)
WEIGHTS = (0.02, 0.1, 0.5)


def claims(data: str, tables: list[str], rows: list[Row]) -> Iterator[Claim]:
    """Every model that the tables need, with what is measured on it; an empty list: difficulty.

    rows: results so far; what is chosen on seed 0 decides what is sampled from the others.
    """
    for table in tables:
        yield from TABLES[table](data, rows)


def timesteps(data: str, rows: list[Row]) -> Iterator[Claim]:
    """Times of training, by the same samplers; headline rows with three seeds."""
    del rows
    for seed in SEEDS:
        yield from ((Model(data, name, seed), [MAIN, Sampling(AB2, 12)]) for name in HEADLINE)
    yield from ((Model(data, name, 0), [MAIN, Sampling(AB2, 12)]) for name in OTHERS)


def rates(data: str, rows: list[Row]) -> Iterator[Claim]:
    """Whether the recipe's optimizer and rate are as good for SiT as for LTG."""
    del rows
    for optimizer, lr in RATES:
        for name in (SIT, GROUPED):
            yield Model(data, name, 0, optimizer=optimizer, lr=lr), [MAIN]


def search(data: str, rows: list[Row]) -> Iterator[Claim]:
    """The paper's samplers with other options, on seed 0."""
    del rows
    yield Model(data, GROUPED, 0), [Sampling(s, 48) for specs in SEARCH.values() for s in specs]


def grids(data: str, rows: list[Row]) -> Iterator[Claim]:
    """Every sampler on several grids, on seed 0."""
    del rows
    plain = [Sampling(s, n, grid=g) for s in PLAIN for g in GRIDS for n in (12, 24, 48)]
    patchwise = [
        Sampling(s, n, grid=g) for s in PATCHWISE for g in ("uniform", *SHIFTS) for n in (24, 48)
    ]
    yield Model(data, GROUPED, 0), plain + patchwise


def samplers(data: str, rows: list[Row]) -> Iterator[Claim]:
    """Samplers at equal evaluations on all seeds, in equal steps and as chosen on seed 0."""
    for seed in SEEDS:
        model = Model(data, GROUPED, seed)
        equal = [Sampling(s, n) for s in (*PLAIN, *PATCHWISE) for n in BUDGETS]
        chosen = [best_options(data, kind, rows) for kind in SEARCH]
        named = [Sampling(s, n) for s in filter(None, chosen) for n in BUDGETS]
        on_grids = [
            Sampling(s, n, grid=best_grid(data, s, n, rows) or "uniform")
            for s in (*PLAIN, *PATCHWISE)
            for n in (12, 24, 48)
        ]
        yield model, equal + named + on_grids
        yield Model(data, SIT, seed), [Sampling("euler", n) for n in BUDGETS]
        paper = [Sampling(s, n) for s in ("euler", *PATCHWISE) for n in (48, 96)]
        yield Model(data, LTG, seed), paper


def few(data: str, rows: list[Row]) -> Iterator[Claim]:
    """Few evaluations, and those that a user gets who says nothing, or a budget alone."""
    del rows
    for seed in SEEDS:
        made = [Sampling(AB2, n, grid=g) for n in FEW for g in ("uniform", "fitted")]
        yield Model(data, GROUPED, seed), [*made, Sampling("default", 0)]


def guidance(data: str, rows: list[Row]) -> Iterator[Claim]:
    """Guidance by scale and interval, on seed 0."""
    del rows
    specs = (("euler", 48), (AB2, 12), (AB2, 24), ("dual-loop", 48), ("look-ahead", 48))
    guided = [Sampling(s, n, scale, i) for s, n in specs for scale in SCALES for i in INTERVALS]
    yield Model(data, GROUPED, 0), guided


def difficulty(data: str, rows: list[Row]) -> Iterator[Claim]:
    """Is predicted difficulty right, and does context help?"""
    del rows
    yield from ((Model(data, name, seed), []) for seed in SEEDS for name in (LTG, GROUPED))


def repa(data: str, rows: list[Row]) -> Iterator[Claim]:
    """Alignment, on seed 0."""
    del rows
    for weight in WEIGHTS:
        for name in (SIT, GROUPED):
            yield Model(data, name, 0, repa=weight), [MAIN]


def length(data: str, rows: list[Row]) -> Iterator[Claim]:
    """One training of a smaller network followed for long: where do samplers change places?"""
    del rows
    specs = ("euler", AB2, *PATCHWISE, "look-ahead:context_ratio=1.1")
    for steps in LENGTHS:
        model = Model(data, GROUPED, 0, "small", steps)
        yield model, [*(Sampling(s, 48) for s in specs), Sampling(AB2, 12)]
        yield model, []


TABLES: dict[str, Callable[[str, list[Row]], Iterator[Claim]]] = {
    "timesteps": timesteps,
    "rates": rates,
    "search": search,
    "grids": grids,
    "samplers": samplers,
    "few": few,
    "guidance": guidance,
    "difficulty": difficulty,
    "repa": repa,
    "length": length,
}


def as_toy(claim: Claim) -> Claim:
    """The same of a network and of a length that a test can afford."""
    model, samplings = claim
    return replace(model, size="toy", steps=model.steps and 2 + model.steps // 5000), samplings


def best_options(data: str, kind: str, rows: list[Row]) -> str | None:
    """The sampler of that kind with the lowest distance on seed 0 at 48 evaluations; None until
    all were tried.
    """
    tried = [_found(data, Sampling(spec, 48), rows) for spec in SEARCH[kind]]
    if not all(tried):
        return None
    return min(filter(None, tried), key=distance)["sampling"]["sampler"]


def best_grid(data: str, sampler: str, nfe: int, rows: list[Row]) -> str | None:
    """The grid of the lowest distance on seed 0 at so many evaluations; None if one was tried."""
    tried = [_found(data, Sampling(sampler, nfe, grid=grid), rows) for grid in GRIDS]
    there = [row for row in tried if row]
    return min(there, key=distance)["sampling"]["grid"] if len(there) > 1 else None


def distance(row: Row, network: int = 0, reference: str = "held-out") -> float:
    """FD, by the first network unless said otherwise."""
    value: float = row["measures"][network]["fd"][reference]["value"]
    return value


def _found(data: str, sampling: Sampling, rows: list[Row]) -> Row | None:
    wanted = {**asdict(sampling), "interval": sampling.interval and list(sampling.interval)}
    matches = [
        row
        for row in rows
        if row["kind"] == "samples"
        and row["sampling"] == wanted
        and (row["model"]["data"], row["model"]["timesteps"], row["model"]["seed"])
        == (data, GROUPED, 0)
        and row["model"]["size"] != "small"
        and not any(row["model"][key] for key in ("optimizer", "lr", "repa"))
    ]
    return matches[0] if matches else None
