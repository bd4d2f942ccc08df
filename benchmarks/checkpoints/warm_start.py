"""Fine-tuning a SiT for a tenth of the steps against training from scratch, on emoji scenes.

    python -m benchmarks.checkpoints.warm_start --atlas data/emoji --out warm.json [--steps N]

Trains a SiT (shared times) for N steps, then Patch Forcing (LTG of 8 levels) for N/10 from it,
for N/10 and for N from scratch, in the recipe of emoji-64; each sampled alike.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from benchmarks.common.options import command_line
from benchmarks.common.record import Row, check_kept, provenance, write_json
from benchmarks.common.tasks import Sampling
from benchmarks.emoji.measure import measure, real_scenes
from patch_forcing.core.errors import UserError
from patch_forcing.data.emoji import EmojiScenes
from patch_forcing.data.sources import EmojiSource
from patch_forcing.features.emoji import load_emoji_features
from patch_forcing.generation.find import find_model
from patch_forcing.models.loading import load_model
from patch_forcing.runs.recipe import Recipe
from patch_forcing.runs.recipes import RECIPES
from patch_forcing.runs.trainer import train

SIT, PFT = "shared-uniform", "ltg:levels=8"
SAMPLINGS = [Sampling("euler", 50), Sampling("adams-bashforth", 16)]


def runs(steps: int) -> dict[str, tuple[str, int, str | None]]:
    """Name → times, steps, and the run that it starts from."""
    tenth = max(1, steps // 10)
    return {
        "sit": (SIT, steps, None),
        "sit-then-pft": (PFT, tenth, "sit"),
        "pft-tenth": (PFT, tenth, None),
        "pft": (PFT, steps, None),
    }


def recipe(options: argparse.Namespace, timesteps: str, steps: int, seed: int) -> Recipe:
    """The recipe, at that length."""
    base = RECIPES[options.recipe].recipe
    warmup = min(base.optimizer.warmup_steps, max(1, steps // 10))
    return replace(
        base,
        data=EmojiSource(str(options.atlas)),
        optimizer=replace(base.optimizer, warmup_steps=warmup),
        timesteps=timesteps,
        steps=steps,
        seed=seed,
        checkpoint_every=steps,
        sample_every=0,
        snapshot_every=0,
        compile=base.compile and options.device != "cpu",
    )


def main() -> None:
    """Train, sample, measure, and write all as one list."""
    parser = command_line(__doc__, "atlas", "samples")
    parser.add_argument("--work", type=Path, default=Path("runs/warm"), help="training runs")
    parser.add_argument("--recipe", default="emoji-64", choices=["emoji-64", "emoji-64-smoke"])
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=list(runs(1)), help="a start must be there")
    options = parser.parse_args()
    made = options.only or runs(1)
    try:
        check_kept(options.out, made, lambda held: [row["run"] for row in held])
    except UserError as error:
        parser.error(str(error))
    device, rows = options.device, list[Row]()
    about = provenance(__file__, device)
    features = load_emoji_features(device=device)
    for seed in range(options.seeds):
        for name, (timesteps, steps, start) in runs(options.steps).items():
            if options.only and name not in options.only:
                continue
            folder = options.work / f"{name}-{seed}"
            made = recipe(options, timesteps, steps, seed)
            init = None if start is None else str(options.work / f"{start}-{seed}")
            trained = train(name, made, folder, device=device, progress=False, init_from=init)
            data = made.data.open()
            assert isinstance(data, EmojiScenes)
            real = real_scenes(data, features, options.samples, device)
            model = load_model(find_model(folder), device)
            for one in SAMPLINGS:
                row = measure(model, one, features, real, device)
                rows.append({**about, "run": name, "seed": seed, "steps": steps, **row})
                rows[-1]["training_seconds"] = trained.seconds
                print({k: rows[-1][k] for k in ("run", "seed", "steps", "fd")}, flush=True)
                write_json(options.out, rows)


if __name__ == "__main__":
    main()
