"""What the emoji benchmark measures: sizes, trainings, and the samples that each claim needs."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace

from benchmarks.emoji.latent import LatentSource
from benchmarks.emoji.measure import Row, Sampling
from patch_forcing.core.registry import build
from patch_forcing.data.emoji import EmojiSource
from patch_forcing.runs.recipes import RECIPES, Network, Recipe
from patch_forcing.sampling.grids import uniform_grid
from patch_forcing.sampling.guidance import Interval
from patch_forcing.sampling.samplers import SAMPLERS, count_evaluations
from patch_forcing.training.optim import OptimizerConfig

SIT, LTG, GROUPED = "shared-uniform", "ltg", "ltg:levels=8"
LOGIT_NORMAL = "shared-logit-normal"
HEADLINE = (SIT, LTG, GROUPED)
OTHERS = (
    "independent-uniform",
    "mean-controlled:sharpness=1",
    "mean-controlled:sharpness=4",
    "mean-controlled:sharpness=10",
    "tg",
    "ltg:levels=4",
    "ltg:levels=16",
    "ltg:levels=32",
    "ltg:loc=1.6",
    "ltg:loc=0.3,std=0.1",
)
"""The last two: times as late on average as logit-normal ones, by a later maximum or by less spread
below it."""
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
AB2, MOST_AT_ONCE, SHIFTED = SECOND_ORDER[0], "multirate:shares=0.8/0.2", "shifted:shift=3"
REUSING = f"{AB2}:reuse_guidance=true"
FRONT_BUDGETS = (6, 8, 12, 16, 25)
FRONT = [  # sampler, grid: what few evaluations reach
    *((AB2, grid) for grid in ("uniform", SHIFTED, "fitted")),
    ("multirate", SHIFTED),
    (MOST_AT_ONCE, SHIFTED),
    (f"{MOST_AT_ONCE},rank=random", SHIFTED),
    ("multirate:rank=random", SHIFTED),
    ("euler", SHIFTED),
    ("multirate", "fitted"),
    (MOST_AT_ONCE, "fitted"),
    *((spec, "fitted") for spec in ("adaptive", "adaptive:exit=0.01")),
]
FRONT_LONG = [("euler", SHIFTED), ("dual-loop", SHIFTED)]
"""The same grid at 50 evaluations."""
FRONT_GUIDED = [
    *FRONT[:3],
    *((REUSING, grid) for grid in (SHIFTED, "fitted")),
    *((MOST_AT_ONCE, grid) for grid in (SHIFTED, "fitted")),
    *((spec, "fitted") for spec in ("adaptive", "adaptive:tolerance=0.05")),
]
GUIDED_SCALE, GUIDED_INTERVAL = 3.0, (0.1, 0.8)
"""The best of these at 50 evaluations."""
SCALES = (1.5, 2.0, GUIDED_SCALE, 4.0)
INTERVALS: tuple[Interval | None, ...] = (None, GUIDED_INTERVAL)


@dataclass(frozen=True)
class Size:
    """How much of everything; one size for all rows of a patch side.

    base: the recipe, but for times, seed and machine. rates: of learning, where the recipe's does
    not hold: by the name of the times. shipped: measure what a package would hold,
    weights rounded to fp16.
    """

    base: Recipe
    samples: int = 10_000
    rates: dict[str, float] = field(default_factory=dict)
    shipped: bool = False

    @property
    def patches(self) -> int:
        """N."""
        return (64 // self.base.network.patch_size) ** 2

    def recipe(self, atlas: str, timesteps: str, seed: int, gpu: bool) -> Recipe:
        """What a model is trained by."""
        return replace(
            self.base,
            data=replace(self.base.data, path=atlas),
            timesteps=timesteps,
            optimizer=replace(
                self.base.optimizer, lr=self.rates.get(timesteps, self.base.optimizer.lr)
            ),
            seed=seed,
            precision="bf16" if gpu else "fp32",
            compile=gpu,
        )


def short_training(
    network: Network,
    steps: int,
    batch_size: int,
    warmup_steps: int = 200,
    data: EmojiSource | LatentSource = EmojiSource(),  # noqa: B008  frozen
    rate: float = 2e-3,
) -> Recipe:
    """What the rows of a table have in common."""
    return Recipe(
        data=data,
        network=network,
        optimizer=OptimizerConfig("muon", rate, warmup_steps),
        steps=steps,
        batch_size=batch_size,
        ema_decay=0.9975,
        checkpoint_every=min(500, steps),
        log_every=min(100, steps),
    )


LONG, HALF_RATE = "emoji-64", "p4-half-rate"
SIZES = {
    "p8": Size(short_training(Network(8, 256, 10, 4), steps=2500, batch_size=512)),
    "p4": Size(
        short_training(Network(4, 256, 10, 4), steps=3500, batch_size=128),
        rates={SIT: 1e-3},  # at 2e-3 it diverged on three seeds of three, here on one
    ),
    HALF_RATE: Size(short_training(Network(4, 256, 10, 4), 3500, 128, rate=1e-3)),
    "latent": Size(short_training(Network(1, 256, 10, 4), 2500, 512, data=LatentSource())),
    LONG: Size(RECIPES[LONG].recipe, shipped=True),
    "smoke": Size(short_training(Network(16, 32, 2, 2), 4, 8, warmup_steps=1), samples=24),
    "latent-smoke": Size(
        short_training(Network(1, 32, 2, 2), 4, 8, warmup_steps=1, data=LatentSource()), samples=24
    ),
    "long-smoke": Size(RECIPES["emoji-64-smoke"].recipe, samples=24, shipped=True),
}


MEASURED = ["p8", "p4", HALF_RATE, "latent", LONG]


def is_latent(size: str) -> bool:
    """Whether its models see latents."""
    return isinstance(SIZES[size].base.data, LatentSource)


def is_long(size: str) -> bool:
    """Whether it is one model, trained as well as we can, instead of many trained alike."""
    return SIZES[size].shipped


def main_timesteps(size: str) -> str:
    """The distribution whose samplers are compared in detail."""
    return GROUPED if is_long(size) or is_latent(size) else LTG


@dataclass(frozen=True)
class Model:
    """One training: a size, a distribution of times, a seed."""

    size: str
    timesteps: str
    seed: int

    @property
    def name(self) -> str:
        """Also the folder's."""
        return f"{self.size}-{self.timesteps.translate(str.maketrans(':=', '--'))}-{self.seed}"


Measured = tuple[Model, list[Sampling]]


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
    seeds, sweeps = (0, 1, 2), size != "p4"
    # patch 4, four times as dear, has the headline rows alone, at 50 evaluations
    budgets = BUDGETS if sweeps else (50,)
    if "timesteps" in tables:
        models = [Model(size, name, seed) for name in HEADLINE for seed in seeds]
        yield from ((model, [Sampling("euler", 50)]) for model in models)
        if sweeps:
            others = [Model(size, LOGIT_NORMAL, seed) for seed in seeds]
            others += [Model(size, name, 0) for name in OTHERS]
            yield from ((model, [Sampling("euler", 50)]) for model in others)
    if "samplers" in tables:
        if sweeps:
            grid = [Sampling(spec, 50) for specs in GRID.values() for spec in specs]
            yield Model(size, LTG, 0), grid
        else:
            yield Model(size, LTG, 0), [Sampling(spec, 50) for spec in ("random-order", *RATIOS)]
            yield Model(size, LOGIT_NORMAL, 0), [Sampling("euler", 50)]
        chosen = [best_of(size, LTG, name, rows) for name in GRID] if sweeps else []
        headline = ["euler", "dual-loop", "look-ahead"]
        samplers = {
            SIT: ["euler"],
            LTG: [*headline, *(["random-order"] if sweeps else []), *filter(None, chosen)],
            GROUPED: headline,
        }
        for name, specs in samplers.items():
            for seed in seeds:
                every = [Sampling(spec, nfe) for spec in dict.fromkeys(specs) for nfe in budgets]
                yield Model(size, name, seed), every
    if "difficulty" in tables:
        yield from ((Model(size, name, seed), []) for seed in seeds for name in (LTG, GROUPED))
    if "front" in tables and sweeps:
        yield from ((Model(size, GROUPED, seed), list(front_of_seeds())) for seed in seeds)


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


def front() -> Iterator[Sampling]:
    """Few evaluations, without guidance and with it."""
    for nfe in FRONT_BUDGETS:
        yield from (Sampling(spec, nfe, grid=grid) for spec, grid in FRONT)
    yield from (Sampling(spec, 50, grid=grid) for spec, grid in FRONT_LONG)
    for nfe in FRONT_BUDGETS:
        for spec, grid in FRONT_GUIDED:
            yield Sampling(spec, nfe, GUIDED_SCALE, GUIDED_INTERVAL, grid)


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


def best_of(size: str, timesteps: str, kind: str, rows: list[Row]) -> str | None:
    """The sampler of that kind with the lowest distance on seed 0 at 50 evaluations."""
    found = [
        row
        for row in rows
        if row["model"] == asdict(Model(size, timesteps, 0))
        and row["kind"] == "samples"
        and row["sampling"]["sampler"] in GRID[kind]
        and row["sampling"]["nfe"] == 50
        and row["sampling"]["guidance"] == 1
        and row["sampling"]["grid"] == "uniform"
    ]
    if len(found) < len(GRID[kind]):
        return None
    return min(found, key=lambda row: row["fd"])["sampling"]["sampler"]
