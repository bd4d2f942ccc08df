"""The paper's claims on emoji scenes: timesteps, samplers, difficulty, guidance.

    python -m benchmarks.emoji.run --atlas data/emoji --work runs/emoji --out docs/results/emoji

Trains the models it needs, samples and measures them, and appends each result to OUT/rows.jsonl as
soon as it has it; run again, it goes on with what is missing. Charts: benchmarks/emoji/report.py;
tables: benchmarks/pages/write.py.
"""

import argparse
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.common.options import command_line
from benchmarks.common.record import Row, append_row, read_rows
from benchmarks.common.tasks import Task, tasks_of
from benchmarks.emoji.claims import claims
from benchmarks.emoji.latent import LatentScenes
from benchmarks.emoji.measure import check_atlas, measure, measure_difficulty, real_scenes
from benchmarks.emoji.sizes import LONG, MEASURED, SIZES, Model, is_long
from patch_forcing.core.errors import UserError
from patch_forcing.features.emoji import load_emoji_features
from patch_forcing.generation.find import find_model
from patch_forcing.generation.fit import fit_time_grid
from patch_forcing.io.provenance import origin
from patch_forcing.models.config import SamplingInfo
from patch_forcing.models.inference import compile_whole
from patch_forcing.models.loading import load_model
from patch_forcing.runs.trainer import train


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
        "atlas": data.atlas.identity,
        **origin(device),
    }
    if trained and trained.seconds:
        log = read_rows(run / "metrics.jsonl")
        recorded = {**asdict(recipe), "data": "emoji scenes"}
        recorded |= {"components": latents.components} if latents else {}
        losses = {row["step"]: row["velocity"] for row in log}  # null where a step failed
        training = {"kind": "training", "seconds": trained.seconds, "recipe": recorded}
        put({**about, **training, "losses": losses, **log[-1]})
    network = load_model(given or find_model(run), device)
    if size.shipped:
        network = network.half().float()
    if any(one.grid == "fitted" for one in task.samplings) and not given:
        network.sampling_info = SamplingInfo(fit_time_grid(network, range(32)))
    if device != "cpu":
        compile_whole(network)
    if task.wants_difficulty:
        count = min(2000, size.samples)
        put({**about, **measure_difficulty(network, data, count, device)})
    if task.samplings:
        real = real_scenes(data, features, size.samples, device)
        floor = real.floor
        decode = latents.to_images if latents else None
        for sampling in task.samplings:
            row = measure(network, sampling, features, real, device, decode)
            put({**about, **row, "floor": floor})


# the run --------------------------------------------------------------------------------------


def missing(options: argparse.Namespace, rows: list[Row]) -> list[Task]:
    """One task for each model that lacks results, in the order of the tables."""
    named = (claim for size in options.sizes for claim in claims(size, options.tables, rows))
    tasks = tasks_of(named, rows)
    return [task for task in tasks if not options.only or task.model.name in options.only]


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
            message = f"{task.model.name}: ended by signal {-process.exitcode}, try {number}"
            print(message, flush=True)
            if number < TRIES:
                waiting.insert(0, (task.without(read_rows(file)), number + 1))
            else:
                failed.append(message)
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
            append_row(file, row)
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
    parser = command_line(__doc__, "atlas", out="docs/results/emoji")
    parser.add_argument("--work", type=Path, default=Path("runs/emoji"), help="training runs")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=MEASURED)
    everything = ["timesteps", "samplers", "difficulty", "guidance", "moving", "front"]
    parser.add_argument("--tables", nargs="+", choices=everything, default=everything)
    parser.add_argument("--only", nargs="*", help="names of models, as p8-ltg-0")
    parser.add_argument("--weights", type=Path, help=f"a model folder of {LONG}, not to train it")
    parser.add_argument("--jobs", type=int, default=1, help="models at once")
    options = parser.parse_args()
    try:
        check_atlas(options.atlas, load_emoji_features())
    except UserError as error:
        parser.error(str(error))
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "rows.jsonl"
    failed: list[str] = []
    for _ in range(2):
        failed += run_all(missing(options, read_rows(file)), options, file)
    if failed:
        raise SystemExit(f"{len(failed)} failed: {'; '.join(failed)}")


if __name__ == "__main__":
    main()
