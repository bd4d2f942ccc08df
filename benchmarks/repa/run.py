"""Does alignment (REPA) speed up learning? Emoji scenes, SiT and PF, with it and without.

    python -m benchmarks.repa.run --atlas data/emoji --seeds 0 1 2 --out docs/results/repa/repa.json
    python -m benchmarks.repa.run --toy --atlas data/emoji --work /tmp/toy --out /tmp/toy/repa.json

Trainings of one length, the frozen encoder being the benchmark's own feature network; samples of
each at several step counts. A training is written SiT, SiT+0.1 (aligned, of that weight) or
PF+0.1@5 (after block 5). Run again, it goes on with what is missing. The page and its chart, of one
file or of several made beside each other: benchmarks/repa/report.py.
"""

import argparse
import json
import time
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.common.options import command_line
from benchmarks.common.record import Row, provenance, read_json, read_rows, write_json
from benchmarks.common.tables import table
from benchmarks.common.tasks import Sampling
from benchmarks.emoji.measure import Real, check_atlas, measure, real_scenes
from benchmarks.emoji.sizes import SIZES
from benchmarks.repa.trainings import METHODS, SAME, Training, training_of, trainings_of
from patch_forcing.core.errors import UserError
from patch_forcing.core.registry import build
from patch_forcing.features.emoji import EmojiFeatures, load_emoji_features
from patch_forcing.io.run_layout import checkpoint_path, ema_folder
from patch_forcing.models.dit import PatchDiT
from patch_forcing.models.inference import compile_whole
from patch_forcing.models.loading import load_model
from patch_forcing.runs import saver
from patch_forcing.runs.recipe import Recipe
from patch_forcing.runs.trainer import train
from patch_forcing.sampling.samplers import SAMPLERS
from patch_forcing.training.options import AlignmentConfig


def recipe_of(training: Training, options: argparse.Namespace) -> Recipe:
    """The recipe of a training: that of the emoji tables, patch 8."""
    size = SIZES["smoke" if options.toy else "p8"]
    gpu = options.device != "cpu"
    base = size.recipe(str(options.atlas), METHODS[training.method], training.seed, gpu)
    alignment = AlignmentConfig()
    if training.weight:
        # 2048 hidden units would cost as much as half of this network
        alignment = AlignmentConfig(
            "emoji", training.weight, training.depth, projector_dim=options.projector_dim
        )
    return replace(
        base,
        steps=options.steps,
        checkpoint_every=options.every,
        log_every=min(50, options.every),
        sample_every=0,
        snapshot_every=0,
        alignment=alignment,
    )


def averaged(run: Path, upto: int, steps: int) -> dict[str, float]:
    """Losses and rate, mean over the last `steps` steps; each step sees new scenes."""
    logged = read_rows(run / "metrics.jsonl")
    rows = [row for row in logged if upto - steps < row["step"] <= upto]
    names = [name for name in ("velocity", "nll", "alignment") if name in rows[0]]
    return {name: sum(row[name] for row in rows) / len(rows) for name in names}


def sampled(
    network: PatchDiT,
    options: argparse.Namespace,
    training: Training,
    features: EmojiFeatures,
    real: Real,
    step: int,
) -> Row:
    """What the averaged weights of that step give."""
    run = options.work / training.folder
    network.load_state_dict(load_model(ema_folder(checkpoint_path(run, step))).state_dict())
    sampling = Sampling(options.sampler, options.nfe)
    row = measure(network, sampling, features, real, options.device)
    return {
        **asdict(training),
        "step": step,
        **averaged(run, step, options.every),
        **{key: value for key, value in row.items() if key != "kind"},
    }


def short(row: Row) -> list[str]:
    """A line of the table at the end."""
    similarity = f"{-row['alignment']:.3f}" if "alignment" in row else ""
    numbers = [f"{row['fd']:.1f}", f"{row['accuracy']:.1%}", f"{row['velocity']:.4f}", similarity]
    return [training_of(row).folder, f"{row['step']:,}", *numbers]


def main() -> None:
    """Train what is missing, sample what is missing, print the table."""
    parser = command_line(__doc__, "atlas", "samples", out="docs/results/repa/repa.json")
    parser.add_argument("--work", type=Path, default=Path("runs/repa"), help="training runs")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--every", type=int, default=500, help="steps between measurements")
    parser.add_argument("--sampler", default="euler")
    parser.add_argument("--nfe", type=int, default=50)
    parser.add_argument("--trainings", nargs="+", default=["SiT", "SiT+0.5", "PF", "PF+0.5"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--projector-dim", type=int, default=512)
    parser.add_argument("--toy", action="store_true", help="seconds on a CPU; means nothing")
    options = parser.parse_args()
    if options.toy:
        options.steps, options.every, options.samples, options.nfe = 4, 2, 24, 4
        options.projector_dim = 16
    if not 0 < options.every <= options.steps or options.steps % options.every:
        parser.error(f"--every {options.every} does not divide --steps {options.steps}")
    try:
        build("sampler", SAMPLERS, options.sampler)
        trainings = trainings_of(options.trainings, options.seeds)
        recipes = {training: recipe_of(training, options) for training in trainings}
        for recipe in recipes.values():
            recipe.alignment.block(recipe.network.depth)
    except UserError as error:
        parser.error(str(error))
    features = load_emoji_features(device=options.device)
    try:
        check_atlas(options.atlas, features)
        run_all(recipes, options, features)
    except UserError as error:
        parser.error(str(error))


def begun(
    recipes: dict[Training, Recipe], options: argparse.Namespace, atlas: str, floor: float
) -> Row:
    """The report so far; UserError if the file there holds other measurements."""
    report: Row = {
        **provenance(__file__, options.device),
        "atlas": atlas,
        "sampling": asdict(Sampling(options.sampler, options.nfe)),
        "samples": options.samples,
        "toy": options.toy,
        "floor": floor,
        "recipes": {},
        "seconds": {},
        "rows": [],
    }
    if before := read_json(options.out, {}):
        for key in SAME:
            if before[key] != report[key]:
                raise UserError(f"{options.out} has another {key}: choose another --out")
        report |= {key: before[key] for key in ("recipes", "seconds", "rows")}
    for training, recipe in recipes.items():
        recorded = json.loads(json.dumps({**asdict(recipe), "data": "emoji scenes"}))
        if report["recipes"].setdefault(training.folder, recorded) != recorded:
            raise UserError(f"{options.out} has another {training.folder}: choose another --out")
    return report


def run_all(
    recipes: dict[Training, Recipe], options: argparse.Namespace, features: EmojiFeatures
) -> None:
    """Train and sample, one after the other; the JSON is written anew with each result.

    Raises UserError before the first if the file there holds other measurements.
    """
    saver.KEPT_CHECKPOINTS = 1 + options.steps // options.every  # all are sampled from
    data = next(iter(recipes.values())).data.open()
    real = real_scenes(data, features, options.samples, options.device)
    floor = real.floor
    report = begun(recipes, options, features.atlas, floor)
    network = None
    for training, recipe in recipes.items():
        steps = range(options.every, options.steps + 1, options.every)
        done = [row["step"] for row in report["rows"] if training_of(row) == training]
        if set(done) >= set(steps):
            continue
        run = options.work / training.folder
        outcome = train(training.folder, recipe, run, device=options.device, progress=False)
        if outcome.steps_before == 0 and outcome.seconds:
            report["seconds"][training.folder] = round(outcome.seconds, 1)
            write_json(options.out, report)
        if network is None:
            network = load_model(ema_folder(checkpoint_path(run, options.steps)), options.device)
            if options.device != "cpu":
                compile_whole(network)  # once, for all weights
        for step in sorted(set(steps) - set(done)):
            row = sampled(network, options, training, features, real, step)
            report["rows"].append(row)
            write_json(options.out, report)
            print(time.strftime("%H:%M:%S"), *short(row), flush=True)
    header = ["training", "steps", "FD", "accuracy", "velocity loss", "similarity"]
    print(table(header, [short(row) for row in report["rows"]]))


if __name__ == "__main__":
    main()
