"""The paper's claims on emoji scenes: timesteps, samplers, difficulty, guidance.

    python benchmarks/emoji.py --atlas data/emoji --work runs/emoji --out docs/results/emoji

Trains the models it needs, samples and measures them, and appends each result to OUT/rows.jsonl as
soon as it has it; run again, it goes on with what is missing. Tables and charts:
benchmarks/emoji_report.py.
"""

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from emoji_latent import LatentScenes, LatentSource
from emoji_measure import Row, Sampling, measure, measure_difficulty, real_scenes
from patch_forcing.core.registry import build
from patch_forcing.data.atlas import load_atlas
from patch_forcing.data.emoji import EmojiSource
from patch_forcing.evaluation.emoji import load_emoji_features
from patch_forcing.evaluation.metrics import frechet_distance
from patch_forcing.io.provenance import commit, hardware, versions
from patch_forcing.models.loading import load_model
from patch_forcing.runs.find import find_model
from patch_forcing.runs.recipes import RECIPES, Network, Recipe
from patch_forcing.runs.speed import compile_whole
from patch_forcing.runs.trainer import train
from patch_forcing.sampling.grids import uniform_grid
from patch_forcing.sampling.guidance import Interval
from patch_forcing.sampling.samplers import SAMPLERS
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
)
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
SECOND_ORDER = ["multirate:rates=1,shares=1", "multirate:context=ahead", "multirate"]
"""Adams–Bashforth for all patches together, and with the harder half at twice the rate: seeing the
others' keys and values held, or carried on."""
SCALES = (1.5, 2.0, 3.0, 4.0)
INTERVALS: tuple[Interval | None, ...] = (None, (0.1, 0.8))


@dataclass(frozen=True)
class Size:
    """How much of everything; one size for all rows of a patch side.

    base: the recipe, but for times, seed and machine. shipped: measure what a package would hold,
    weights rounded to fp16.
    """

    base: Recipe
    samples: int = 10_000
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
) -> Recipe:
    """What the rows of a table have in common."""
    return Recipe(
        data=data,
        network=network,
        optimizer=OptimizerConfig("muon", 2e-3, warmup_steps),
        steps=steps,
        batch_size=batch_size,
        ema_decay=0.9975,
        checkpoint_every=min(500, steps),
        log_every=min(100, steps),
    )


LONG = "emoji-64"
SIZES = {
    "p8": Size(short_training(Network(8, 256, 10, 4), steps=2500, batch_size=512)),
    "p4": Size(short_training(Network(4, 256, 10, 4), steps=2500, batch_size=256)),
    "latent": Size(short_training(Network(1, 256, 10, 4), 2500, 512, data=LatentSource())),
    LONG: Size(RECIPES[LONG].recipe, shipped=True),
    "smoke": Size(short_training(Network(16, 32, 2, 2), 4, 8, warmup_steps=1), samples=24),
    "latent-smoke": Size(
        short_training(Network(1, 32, 2, 2), 4, 8, warmup_steps=1, data=LatentSource()), samples=24
    ),
    "long-smoke": Size(RECIPES["emoji-64-smoke"].recipe, samples=24, shipped=True),
}


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
    if is_latent(size):
        if "samplers" in tables:
            every = [Sampling(spec, 50) for spec in ("euler", *PAPER, *RATIOS)]
            yield Model(size, GROUPED, 0), every
        return
    seeds, sweeps = (0, 1, 2), size != "p4"
    # patch 4, four times as dear, has the headline rows alone, at 50 evaluations
    budgets = BUDGETS if sweeps else (50,)
    if "timesteps" in tables:
        for seed in seeds:
            yield from ((Model(size, name, seed), [Sampling("euler", 50)]) for name in HEADLINE)
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
        chosen = [best_of(size, LTG, name, rows) for name in GRID] if sweeps else []
        headline = ["euler", "dual-loop", "look-ahead"]
        samplers = {
            SIT: ["euler"],
            LTG: [*headline, *(["random-order"] if sweeps else []), *filter(None, chosen)],
            GROUPED: headline,
        }
        for seed in seeds:
            for name, specs in samplers.items():
                every = [Sampling(spec, nfe) for spec in dict.fromkeys(specs) for nfe in budgets]
                yield Model(size, name, seed), every
    if "difficulty" in tables:
        yield from ((Model(size, name, seed), []) for seed in seeds for name in (LTG, GROUPED))


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
    if "moving" in tables:
        yield model, [Sampling(spec, cost(spec, model.size)) for spec in MOVING]


def cost(spec: str, size: str) -> float:
    """Evaluations of MOVING_STEPS steps."""
    sampler = build("sampler", SAMPLERS, spec)
    return float(sampler.count_evaluations(uniform_grid(MOVING_STEPS), SIZES[size].patches))


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
    ]
    if len(found) < len(GRID[kind]):
        return None
    return min(found, key=lambda row: row["fd"])["sampling"]["sampler"]


@dataclass(frozen=True)
class Task:
    """A model and what is missing of its results."""

    model: Model
    samplings: tuple[Sampling, ...]
    wants_difficulty: bool

    def without(self, rows: list[Row]) -> "Task":
        """What these results leave to be done."""
        # what was read back from JSON has lists for tuples
        done = {json.dumps([row["model"], row.get("sampling", row["kind"])]) for row in rows}

        def lacks(what: object) -> bool:
            return json.dumps([asdict(self.model), what]) not in done

        left = tuple(one for one in self.samplings if lacks(asdict(one)))
        return Task(self.model, left, self.wants_difficulty and lacks("difficulty"))


def work(task: Task, options: argparse.Namespace, put: Callable[[Row], None]) -> None:
    """Train the model unless it is there, then measure; each result is handed over at once."""
    model, device = task.model, options.device
    torch.set_num_threads(max(1, torch.get_num_threads() // options.jobs))
    size = SIZES[model.size]
    run = options.work / model.name
    recipe = size.recipe(str(options.atlas), model.timesteps, model.seed, device != "cpu")
    opened = recipe.data.open()
    latents = opened if isinstance(opened, LatentScenes) else None
    data = latents.of if latents else opened
    features = load_emoji_features(device=device)
    given = options.weights if is_long(model.size) else None
    trained = None if given else train(model.name, recipe, run, device=device, progress=False)
    about = {
        "model": asdict(model),
        "commit": commit(),
        "hardware": hardware(device),
        "versions": versions(),
        "atlas": data.atlas.identity,
        "date": datetime.now(UTC).date().isoformat(),
    }
    if trained and trained.seconds:
        lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        log = [json.loads(line) for line in lines]
        recorded = {**asdict(recipe), "data": "emoji scenes"}
        recorded |= {"components": latents.components} if latents else {}
        losses = {row["step"]: row["velocity"] for row in log}  # null where a step failed
        training = {"kind": "training", "seconds": trained.seconds, "recipe": recorded}
        put({**about, **training, "losses": losses, **log[-1]})
    network = load_model(given or find_model(run), device)
    if size.shipped:
        network = network.half().float()
    if device != "cpu":
        compile_whole(network)
    if task.wants_difficulty:
        count = min(2000, size.samples)
        put({**about, **measure_difficulty(network, data, count, device)})
    if task.samplings:
        real = real_scenes(data, features, size.samples, device)
        floor = frechet_distance(real.statistics, features.reference)
        for sampling in task.samplings:
            found = measure(
                network, sampling, features, real, device, latents.to_images if latents else None
            )
            put({**about, **found, "floor": floor})


def rows_in(file: Path) -> list[Row]:
    """The results so far."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


# the run --------------------------------------------------------------------------------------


def missing(options: argparse.Namespace, rows: list[Row]) -> list[Task]:
    """One task for each model that lacks results, in the order of the tables."""
    tasks: dict[Model, Task] = {}
    for size in options.sizes:
        for model, samplings in claims(size, options.tables, rows):
            before = tasks.get(model, Task(model, (), False))
            together = tuple(dict.fromkeys((*before.samplings, *samplings)))
            tasks[model] = Task(model, together, before.wants_difficulty or not samplings)
    chosen = [task.without(rows) for task in tasks.values()]
    return [
        task
        for task in chosen
        if (task.samplings or task.wants_difficulty)
        and (not options.only or task.model.name in options.only)
    ]


def _child(task: Task, options: argparse.Namespace, queue: Any) -> None:
    try:
        work(task, options, queue.put)
    except Exception as error:  # the parent reports it, and goes on with the others
        queue.put(f"{task.model.name}: {type(error).__name__}: {error}")
        raise


TRIES = 3
"""A process that a driver's fault ends leaves its checkpoints; another one goes on from there."""


def run_all(tasks: list[Task], options: argparse.Namespace, file: Path) -> list[str]:
    """Up to `jobs` tasks at once, each in its own process; returns what failed."""
    context = multiprocessing.get_context("spawn")
    queue: Any = context.Queue()
    running: list[tuple[Any, Task, int]] = []
    failed: list[str] = []
    waiting = [(task, 1) for task in tasks]
    while waiting or running or not queue.empty():
        for entry in [entry for entry in running if not entry[0].is_alive()]:
            running.remove(entry)
            process, task, number = entry
            if process.exitcode >= 0:
                continue  # it ended by itself, and has said how
            said = f"{task.model.name}: ended by signal {-process.exitcode}, try {number}"
            print(said, flush=True)
            if number < TRIES:
                waiting.insert(0, (task.without(rows_in(file)), number + 1))
            else:
                failed.append(said)
        while waiting and len(running) < options.jobs:
            task, number = waiting.pop(0)
            process = context.Process(target=_child, args=(task, options, queue))
            process.start()
            running.append((process, task, number))
        while not queue.empty():
            row = queue.get()
            if isinstance(row, str):
                failed.append(row)
                print(row, flush=True)
                continue
            with file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")
            print(short(row), flush=True)
        time.sleep(0.2)
    return failed


def short(row: Row) -> str:
    """One line for the terminal."""
    name = f"{time.strftime('%H:%M:%S')} {Model(**row['model']).name}"
    if row["kind"] == "samples":
        how = " ".join(str(value) for value in row["sampling"].values() if value not in (None, 1.0))
        return (
            f"{name} {how}: FD {row['fd']:.2f}, accuracy {row['accuracy']:.1%}, precision "
            f"{row['precision']:.2f}, recall {row['recall']:.2f}, {row['seconds']} s"
        )
    if row["kind"] == "training":
        speed, loss = row["images_per_second"], row["velocity"]
        failed = f", {row['failed_steps']} failed" if row["failed_steps"] else ""
        return f"{name}: {row['seconds']:.0f} s, {speed} img/s, loss {loss}{failed}"
    return f"{name}: " + ", ".join(f"{e['t']}: {e['rank_correlation']:.2f}" for e in row["by_time"])


def main() -> None:
    """Do what is missing; twice, since the search on seed 0 decides what else is sampled."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--atlas", type=Path, default=Path("data/emoji"))
    parser.add_argument("--work", type=Path, default=Path("runs/emoji"), help="training runs")
    parser.add_argument("--out", type=Path, default=Path("docs/results/emoji"))
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["p8", "p4", "latent", LONG])
    everything = ["timesteps", "samplers", "difficulty", "guidance", "moving"]
    parser.add_argument("--tables", nargs="+", choices=everything, default=everything)
    parser.add_argument("--only", nargs="*", help="names of models, as p8-ltg-0")
    parser.add_argument("--weights", type=Path, help=f"a model folder of {LONG}, not to train it")
    parser.add_argument("--jobs", type=int, default=1, help="models at once")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    atlas, features = load_atlas(options.atlas).identity, load_emoji_features().atlas
    if atlas != features:
        parser.error(
            f"{options.atlas} is atlas {atlas}, the features are of {features}: "
            "train them on this atlas with benchmarks/emoji_features.py"
        )
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "rows.jsonl"
    failed: list[str] = []
    for _ in range(2):
        failed += run_all(missing(options, rows_in(file)), options, file)
    if failed:
        raise SystemExit(f"{len(failed)} failed: {'; '.join(failed)}")


if __name__ == "__main__":
    main()
