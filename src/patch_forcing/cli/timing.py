"""`bench speed`, once its options are read."""

from dataclasses import asdict

import torch

from patch_forcing.cli.bench_speed import Options
from patch_forcing.core.compiling import check_compiler
from patch_forcing.generation.find import find_model
from patch_forcing.generation.speed import Speed, random_model, speeds
from patch_forcing.io.provenance import commit, hardware, versions
from patch_forcing.models.cost import matrix_rate
from patch_forcing.models.inference import cast_weights, compile_whole
from patch_forcing.models.loading import load_model
from patch_forcing.models.options import Precision
from patch_forcing.models.presets import is_preset, preset


def measure_speed(options: Options, device: str) -> dict[str, object]:
    """Print the table, row by row, and return what a report holds of it."""
    on_gpu = device.startswith("cuda")
    batch_size = options.batch_size or (64 if on_gpu else 4)
    precision: Precision = options.precision or ("bf16" if on_gpu else "fp32")
    compiled = on_gpu if options.compile is None else options.compile
    if compiled:
        check_compiler(device, "add --compile False")
    if is_preset(options.model):
        model = random_model(preset(options.model), device)
    else:
        model = load_model(find_model(options.model), device)
    cast_weights(model, precision)
    if compiled:
        compile_whole(model)
    # shares of FP8, too, are of a product in bf16
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    rate = matrix_rate(device, dtype, options.seconds)
    how = "compiled" if compiled else "eager"
    print(f"{options.model}, {batch_size} images, {precision}, {how}, {hardware(device)}")
    print(f"one matrix product in {str(dtype)[6:]}: {rate / 1e12:.3g} TFLOP/s, which is 100 %\n")
    print(f"{'':32}{'ms':>10}{'spread':>9}{'images/s':>11}{'share':>8}{'NFE':>8}{'ms/NFE':>10}")
    rows = []
    for row in speeds(model, batch_size, options.calls, rate, options.seconds):
        print(_line(row), flush=True)
        rows.append(asdict(row))
    return {
        "model": options.model,
        "batch_size": batch_size,
        "precision": precision,
        "compiled": compiled,
        "matrix_rate": rate,
        "rows": rows,
        "hardware": hardware(device),
        "versions": versions(),
        "commit": commit(),
    }


def _line(row: Speed) -> str:
    """A row of the table, below its head."""
    milliseconds = 1e3 * row.timing.median
    line = f"{row.what:32}{milliseconds:10.2f}{row.timing.spread:9.1%}"
    line += f"{row.images_per_second:11.4g}{row.share:8.1%}"
    if row.nfe is not None:
        line += f"{row.nfe:8.4g}{milliseconds / row.nfe:10.2f}"
    return line
