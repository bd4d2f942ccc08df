"""Distances of the bundled model's images, made on a CPU: in FP8 and bf16, and guided.

    python -m benchmarks.samplers.cpu --atlas data/emoji --out docs/results/emoji/cpu.json

Measured as by benchmarks/emoji/run.py, in bf16. FP8 is torchao's own arithmetic, slow on a CPU:
what it costs in distance shows here, what it gains does not. Rows of one table share their seeds.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch

import patch_forcing as pf
from benchmarks.common.record import Row, provenance, read_json, write_json
from benchmarks.common.tasks import Sampling
from benchmarks.emoji.bundled import bundled_command_line, compared_with
from benchmarks.emoji.measure import Real, measure
from benchmarks.emoji.samplings import AB2, GUIDED_INTERVAL, GUIDED_SCALE, REUSING
from patch_forcing.features.emoji import EmojiFeatures
from patch_forcing.models.inference import cast_weights, quantize_to_fp8
from patch_forcing.models.loading import load_model
from patch_forcing.models.options import Precision

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
    options = bundled_command_line(__doc__, TABLES, device=False).parse_args()
    features, real = compared_with(options, "cpu")
    rows = read_json(options.out, [])
    for row in measured(options, features, real):
        rows.append(row)
        print({k: row[k] for k in ("table", "computed_in", "nfe", "fd", "accuracy")}, flush=True)
        write_json(options.out, rows)


def measured(options: argparse.Namespace, features: EmojiFeatures, real: Real) -> Iterator[Row]:
    """One row after the other."""
    about = provenance(__file__, "cpu")
    for table in options.only:
        for precision, sampling in TABLES[table]:
            model = in_precision(options.weights, precision)
            row = measure(model, sampling, features, real, "cpu")
            yield {**about, "table": table, "computed_in": precision, **row}


if __name__ == "__main__":
    with torch.inference_mode():
        main()
