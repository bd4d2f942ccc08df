"""Distances of the bundled model's images, made on a CPU: in FP8 and bf16, and guided.

    python -m benchmarks.samplers.cpu --atlas data/emoji --out docs/results/emoji/cpu.json

Measured as by benchmarks/emoji/run.py, in bf16. FP8 is torchao's own arithmetic, slow on a CPU:
what it costs in distance shows here, what it gains does not. Rows of one table share their seeds.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import torch

import patch_forcing as pf
from benchmarks.emoji.claims import AB2, GUIDED_INTERVAL, GUIDED_SCALE, REUSING
from benchmarks.emoji.measure import Real, Row, Sampling, measure, real_scenes
from patch_forcing.data.emoji import EmojiSource
from patch_forcing.features.emoji import EmojiFeatures, load_emoji_features
from patch_forcing.io.provenance import origin
from patch_forcing.models.inference import Precision, cast_weights, quantize_to_fp8
from patch_forcing.models.loading import load_model

TABLES: dict[str, list[tuple[Precision, Sampling]]] = {
    "fp8": [(precision, Sampling(AB2, 6, grid="fitted")) for precision in ("bf16", "fp8")],
    "guided": [
        ("bf16", Sampling(REUSING, nfe, GUIDED_SCALE, GUIDED_INTERVAL, "fitted")) for nfe in (8, 12)
    ],
}


def in_precision(weights: Path, precision: Precision) -> pf.PatchDiT:
    """The model; FP8 though torchao knows that only some GPUs multiply it fast."""
    model = load_model(weights, "cpu")
    if precision != "fp8":
        cast_weights(model, precision)
        return model
    from torchao.quantization import quant_api

    quant_api._check_hardware_support = lambda *_: None
    quantize_to_fp8(model)
    return model


def main() -> None:
    """Measure, print, write after each row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--atlas", type=Path, default=Path("data/emoji"))
    weights = Path("src/patch_forcing/bundled/emoji-64")
    parser.add_argument("--weights", type=Path, default=weights)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES))
    options = parser.parse_args()
    features = load_emoji_features(device="cpu")
    real = real_scenes(EmojiSource(str(options.atlas)).open(), features, options.samples, "cpu")
    rows = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else []
    for row in measured(options, features, real):
        rows.append(row)
        print({k: row[k] for k in ("table", "computed_in", "nfe", "fd", "accuracy")}, flush=True)
        options.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def measured(options: argparse.Namespace, features: EmojiFeatures, real: Real) -> Iterator[Row]:
    """One row after the other."""
    about = {"command": "python -m benchmarks.samplers.cpu", **origin("cpu")}
    for table in options.only:
        for precision, sampling in TABLES[table]:
            model = in_precision(options.weights, precision)
            found = measure(model, sampling, features, real, "cpu")
            yield {**about, "table": table, "computed_in": precision, **found}


if __name__ == "__main__":
    with torch.inference_mode():
        main()
