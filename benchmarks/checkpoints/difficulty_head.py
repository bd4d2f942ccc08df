"""A difficulty head trained for a network whose own was cut off, against the head that it had.

    python -m benchmarks.checkpoints.difficulty_head --atlas data/emoji --out head.json

Cuts the log-variance off the bundled emoji-64, trains a new head alone (`--train-only difficulty`)
and compares both as `evaluate difficulty` does, on the same held-out scenes, noise and times.
Rows that --out holds are kept: started again, it goes on.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from benchmarks.common.options import command_line
from benchmarks.common.record import Row, provenance, read_json, write_json
from patch_forcing.data.sources import EmojiSource
from patch_forcing.generation.pipeline import load
from patch_forcing.models.dit import PatchDiT
from patch_forcing.models.loading import load_model
from patch_forcing.models.warm_start import warm_start
from patch_forcing.runs.recipe import Recipe
from patch_forcing.runs.recipes import RECIPES
from patch_forcing.runs.trainer import train
from patch_forcing.scoring.clean_images import CleanImages
from patch_forcing.scoring.difficulty import measure_difficulty


def cut(model: PatchDiT, folder: Path) -> Path:
    """The same model without log-variance, as a folder; its velocity is what it was."""
    plain = PatchDiT(
        replace(model.config, predict_difficulty=False), model.data_info, model.sampling_info
    )
    plain.load_state_dict(warm_start(model.description(), plain).weights)
    plain.save(folder)
    return folder


def head_recipe(options: argparse.Namespace, steps: int) -> Recipe:
    """Of emoji-64, with small batches; the learning rate stays, so that a run can go on."""
    base = RECIPES["emoji-64"].recipe
    on_gpu = options.device != "cpu"
    return replace(
        base,
        data=EmojiSource(str(options.atlas)),
        train_only="difficulty",
        optimizer=replace(base.optimizer, lr=options.lr, warmup_steps=20, decay_share=0.0),
        batch_size=options.batch_size,
        steps=steps,
        checkpoint_every=steps,
        sample_every=0,
        log_every=10,
        precision=base.precision if on_gpu else "fp32",
        compile=on_gpu,
    )


def measured(model: Path | str, options: argparse.Namespace) -> Row:
    """How well its predictions fit the errors, over held-out scenes, and by time."""
    pipe = load(model, options.device)
    scenes = CleanImages(pipe, options.atlas, options.count)
    record = measure_difficulty(pipe, scenes).record
    by_time = [row["rank_correlation"] for row in record["by_time"]]
    kept = ("ratio", "rank_correlation", "calibration_error", "spread")
    return {
        **{name: record["overall"][name] for name in kept},
        "gain": record["as_in_training"]["difficulty_gain"],
        "rank_correlation_by_time": [None if one is None else one["value"] for one in by_time],
    }


def main() -> None:
    """Cut, train, compare, and write all as one report."""
    parser = command_line(__doc__, "atlas", "weights")
    parser.add_argument("--work", type=Path, default=Path("runs/head"), help="training runs")
    parser.add_argument("--steps", type=int, nargs="+", default=[100, 300, 600])
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--count", type=int, default=300, help="held-out scenes")
    options = parser.parse_args()
    whole = RECIPES["emoji-64"].recipe
    report: Row = {
        **provenance(__file__, options.device),
        "model": "emoji-64",
        "model_steps": whole.steps,
        "model_batch_size": whole.batch_size,
        "batch_size": options.batch_size,
        "lr": options.lr,
        "scenes": options.count,
        "rows": read_json(options.out, {"rows": []})["rows"],
    }
    if not report["rows"]:
        own = {"head": "its own", "steps": whole.steps, **measured(options.weights, options)}
        report["rows"].append(own)
        write_json(options.out, report)
    start = cut(load_model(options.weights), options.work / "cut")
    run = options.work / "head"
    done = {row["steps"] for row in report["rows"]}
    for steps in sorted(set(options.steps) - done):
        recipe = head_recipe(options, steps)
        train("emoji-64", recipe, run, device=options.device, progress=False, init_from=str(start))
        row = {"head": "new", "steps": steps, **measured(run, options)}
        report["rows"].append(row)
        print({k: row[k] for k in ("steps", "rank_correlation", "ratio")}, flush=True)
        write_json(options.out, report)


if __name__ == "__main__":
    main()
