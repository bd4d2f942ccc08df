"""Does alignment (REPA) speed up learning? Emoji scenes, SiT and PF, with it and without.

    python benchmarks/repa.py --atlas data/emoji --work runs/repa --out docs/results/repa/repa.json
    python benchmarks/repa.py --toy --atlas data/emoji --work /tmp/toy --out /tmp/toy/repa.json

Four trainings of one seed and length, the frozen encoder being the benchmark's own feature network;
samples of each at several step counts. Run again, it goes on with what is missing. The page and its
chart: benchmarks/repa_report.py.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from emoji_claims import GROUPED, SIT, SIZES
from emoji_measure import Real, Row, Sampling, measure, real_scenes
from emoji_tables import table
from patch_forcing.data.atlas import load_atlas
from patch_forcing.evaluation.emoji import EmojiFeatures, load_emoji_features
from patch_forcing.evaluation.metrics import frechet_distance
from patch_forcing.io.atomic import write_atomic
from patch_forcing.io.provenance import commit, hardware, versions
from patch_forcing.models.dit import PatchDiT
from patch_forcing.models.inference import compile_whole
from patch_forcing.models.loading import load_model
from patch_forcing.runs import saver
from patch_forcing.runs.checkpoint import checkpoint_path, ema_folder
from patch_forcing.runs.recipes import Recipe
from patch_forcing.runs.trainer import train
from patch_forcing.training.alignment import AlignmentConfig

METHODS = {"SiT": SIT, "PF": GROUPED}


@dataclass(frozen=True)
class Training:
    """One of the four."""

    method: str
    aligned: bool

    @property
    def name(self) -> str:
        """Also the folder's."""
        return f"{self.method}{' + REPA' if self.aligned else ''}"


TRAININGS = [Training(method, aligned) for method in METHODS for aligned in (False, True)]


def recipe_of(training: Training, options: argparse.Namespace) -> Recipe:
    """The recipe of a training: that of the emoji tables, patch 8."""
    size = SIZES["smoke" if options.toy else "p8"]
    gpu = options.device != "cpu"
    base = size.recipe(str(options.atlas), METHODS[training.method], options.seed, gpu)
    alignment = AlignmentConfig()
    if training.aligned:
        # 2048 hidden units would cost as much as half of this network
        alignment = AlignmentConfig(
            "emoji", options.weight, depth=options.depth, projector_dim=options.projector_dim
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
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if upto - steps < row["step"] <= upto]
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
    run = options.work / training.name
    network.load_state_dict(load_model(ema_folder(checkpoint_path(run, step))).state_dict())
    found = measure(network, Sampling("euler", options.nfe), features, real, options.device)
    return {
        "training": training.name,
        **asdict(training),
        "step": step,
        **averaged(run, step, options.every),
        **{key: value for key, value in found.items() if key != "kind"},
    }


def short(row: Row) -> list[str]:
    """A line of the table at the end."""
    similarity = f"{-row['alignment']:.3f}" if "alignment" in row else ""
    numbers = [f"{row['fd']:.1f}", f"{row['accuracy']:.1%}", f"{row['velocity']:.4f}", similarity]
    return [row["training"], f"{row['step']:,}", *numbers]


def main() -> None:
    """Train what is missing, sample what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--atlas", type=Path, default=Path("data/emoji"))
    parser.add_argument("--work", type=Path, default=Path("runs/repa"), help="training runs")
    parser.add_argument("--out", type=Path, default=Path("docs/results/repa/repa.json"))
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--every", type=int, default=500, help="steps between measurements")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--nfe", type=int, default=50)
    parser.add_argument("--weight", type=float, default=0.5)
    parser.add_argument("--depth", type=int, help="aligned block; default: the recipe's")
    parser.add_argument("--projector-dim", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    names = [training.name for training in TRAININGS]
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--toy", action="store_true", help="seconds on a CPU; means nothing")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    if options.toy:
        options.steps, options.every, options.samples, options.nfe = 4, 2, 24, 4
        options.projector_dim = 16
    features = load_emoji_features(device=options.device)
    atlas = load_atlas(options.atlas).identity
    if atlas != features.atlas:
        parser.error(f"{options.atlas} is atlas {atlas}, the features are of {features.atlas}")
    report(options, features, atlas)


def report(options: argparse.Namespace, features: EmojiFeatures, atlas: str) -> None:
    """The JSON, written anew with each result."""
    saver.KEEP = 1 + options.steps // options.every  # all are sampled from
    trainings = [training for training in TRAININGS if training.name in options.only]
    recipes = {training: recipe_of(training, options) for training in trainings}
    recorded = {
        training.name: {**asdict(recipe), "data": "emoji scenes"}
        for training, recipe in recipes.items()
    }
    about: dict[str, Any] = {
        "commit": commit(),
        "hardware": hardware(options.device),
        "versions": versions(),
        "atlas": atlas,
        "recipes": json.loads(json.dumps(recorded)),
        "sampling": asdict(Sampling("euler", options.nfe)),
        "samples": options.samples,
        "toy": options.toy,
    }
    found: dict[str, Any] = {"trainings": {}, "rows": []}
    if options.out.exists():
        before = json.loads(options.out.read_text(encoding="utf-8"))
        if all(before[key] == about[key] for key in ("recipes", "sampling", "samples")):
            found = {name: before[name] for name in found}

    def put() -> None:
        today = datetime.now(UTC).date().isoformat()
        text = json.dumps({**about, "date": today, **found}, indent=1) + "\n"
        write_atomic(options.out, text)

    for training, recipe in recipes.items():
        if training.name in found["trainings"]:
            continue
        run = options.work / training.name
        outcome = train(training.name, recipe, run, device=options.device, progress=False)
        seconds, steps = outcome.seconds, outcome.steps - outcome.steps_before
        found["trainings"][training.name] = {"seconds": round(seconds, 1)} | (
            {"images_per_second": round(recipe.batch_size * steps / seconds)} if seconds else {}
        )
        put()
        print(f"{time.strftime('%H:%M:%S')} {training.name}: {seconds:.0f} s", flush=True)
    data = next(iter(recipes.values())).data.open()
    real = real_scenes(data, features, options.samples, options.device)
    about["floor"] = frechet_distance(real.statistics, features.reference)
    first = checkpoint_path(options.work / trainings[0].name, options.every)
    network = load_model(ema_folder(first), options.device)
    if options.device != "cpu":
        compile_whole(network)  # once, for all weights
    # the last steps of all first, should the time be short
    for step in reversed(range(options.every, options.steps + 1, options.every)):
        for training in trainings:
            done = [(row["training"], row["step"]) for row in found["rows"]]
            if (training.name, step) not in done:
                row = sampled(network, options, training, features, real, step)
                found["rows"].append(row)
                put()
                print(time.strftime("%H:%M:%S"), *short(row), flush=True)
    header = ["training", "steps", "FD", "accuracy", "velocity loss", "similarity"]
    order = {training.name: place for place, training in enumerate(TRAININGS)}
    rows = sorted(found["rows"], key=lambda row: (order[row["training"]], row["step"]))
    print(table(header, [short(row) for row in rows]))


if __name__ == "__main__":
    main()
