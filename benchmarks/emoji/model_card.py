"""The model folder of emoji-64 that comes with the package, and its card.

    python -m benchmarks.emoji.run --sizes emoji-64    # trains it, and measures what is shipped
    python -m benchmarks.emoji.model_card --run runs/emoji/emoji-64-ltg-levels-8-0

Weights are rounded to fp16. Without --run, the card alone is written anew; it rests on
docs/results/emoji/rows.jsonl.
"""

import math
from pathlib import Path

from safetensors import safe_open

from benchmarks.common.options import command_line
from benchmarks.common.record import ROOT, Row
from benchmarks.common.tables import table
from benchmarks.emoji.rows import kind
from benchmarks.emoji.sizes import LONG
from benchmarks.pages.blocks import rewritten
from patch_forcing.generation.find import find_model
from patch_forcing.io.atomic import write_atomic
from patch_forcing.models.loading import load_model

BUNDLED = "src/patch_forcing/bundled/emoji-64"
PAGE = """<!-- benchmarks.emoji.model_card:card docs/results/emoji/rows.jsonl -->
<!-- end -->
"""
CARD = """# emoji-64

Emoji on coloured backgrounds, 64×64, in 99 classes (Unicode's subgroups): the model of
`patch-forcing demo`.

- Network: PatchDiT, {weights:.1f} M weights in fp16, patches of 8 pixels, per-patch times; it
  predicts difficulty.
- Trained by `patch-forcing train emoji-64`: {steps:,} steps of {batch_size}; {minutes:.0f} minutes
  at the {rate:,.0f} images a second that one {hardware} reached.
- Data: scenes drawn on the fly from Noto Color Emoji (SIL Open Font License 1.1). No photographs.
- Good for trying samplers, for tests and demonstrations. Fine drawings (flags, tools, letters) come
  out approximate.
- Licence: Apache-2.0.

Measured on {samples:,} samples a row, 50 network evaluations each (a guided step takes two), labels
as in held-out scenes. FD: Fréchet distance in the features of the benchmark's own network (real
against real: {floor:.1f}). Accuracy: how many samples that network reads as their subgroup.

{table}
{hardware}; torch {torch}; {date}; commits {commits}; one training seed.
All numbers: docs/results/emoji/tables.md.
"""


def card(rows: list[Row]) -> str:
    """The model card, from what benchmarks/emoji/run.py measured."""
    mine = [row for row in rows if row["model"]["size"] == LONG]
    training = next(row for row in mine if row["kind"] == "training")
    sampled = [
        row
        for row in mine
        if row["kind"] == "samples"
        and row["sampling"]["nfe"] == 50
        and row["sampling"]["grid"] == "uniform"
    ]
    recipe = training["recipe"]
    images = recipe["steps"] * recipe["batch_size"]
    lines = []
    for row in sampled:
        sampler, scale, interval = (
            row["sampling"][name] for name in ("sampler", "guidance", "interval")
        )
        if kind(sampler) != sampler or (scale != 1 and not (interval and scale == 3)):
            continue
        guided = "none" if scale == 1 else f"{scale:g} at t {interval[0]} … {interval[1]}"
        shares = [f"{row['precision']:.2f}", f"{row['recall']:.2f}"]
        lines.append([sampler, guided, f"{row['fd']:.1f}", f"{row['accuracy']:.1%}", *shares])
    header = ["sampler", "guidance", "FD", "accuracy", "precision", "recall"]
    return CARD.format(
        weights=weights_of(ROOT / BUNDLED) / 1e6,
        steps=recipe["steps"],
        batch_size=recipe["batch_size"],
        rate=training["images_per_second"],
        minutes=images / training["images_per_second"] / 60,
        samples=sampled[0]["samples"],
        floor=sampled[0]["floor"],
        table=table(header, lines),
        hardware=training["hardware"],
        torch=training["versions"]["torch"],
        date=training["date"],
        commits=", ".join(dict.fromkeys(row["commit"] for row in [training, *sampled])),
    )


def weights_of(folder: Path) -> int:
    """How many a model folder holds."""
    with safe_open(folder / "model.safetensors", "pt") as file:
        return sum(math.prod(file.get_slice(key).get_shape()) for key in file.keys())  # noqa: SIM118


def main() -> None:
    """Round, save, describe."""
    parser = command_line(__doc__, out=BUNDLED, device=False)
    parser.add_argument("--run", type=Path, help="the training run to take weights from")
    options = parser.parse_args()
    if options.run:
        (options.out / "README.md").unlink(missing_ok=True)  # it describes other weights
        load_model(find_model(options.run)).half().save(options.out)
    write_atomic(options.out / "README.md", rewritten(PAGE))


if __name__ == "__main__":
    main()
