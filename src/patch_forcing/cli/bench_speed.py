"""`patch-forcing bench speed MODEL`."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
from tyro.conf import Positional, arg

from patch_forcing.cli.options import (
    DeviceName,
    check_file,
    check_replaced,
    is_report,
    parse,
    parse_device,
)
from patch_forcing.core.compiling import check_compiler
from patch_forcing.core.errors import check_range
from patch_forcing.generation.find import find_model
from patch_forcing.generation.speed import Speed, random_model, speeds
from patch_forcing.io.atomic import write_atomic
from patch_forcing.io.provenance import commit, hardware, versions
from patch_forcing.models.config import preset
from patch_forcing.models.cost import matrix_rate
from patch_forcing.models.inference import cast_weights, compile_whole
from patch_forcing.models.loading import load_model
from patch_forcing.models.options import Precision


@dataclass(frozen=True)
class Options:
    """What `bench speed` takes."""

    model: Positional[Annotated[str, arg(metavar="MODEL")]]
    """A bundled name, a run folder, a model folder or a Hub id; or a size with random weights:
    S/2, B/2, L/2, XL/2."""
    batch_size: int | None = None
    """Images at once. Default: 64 on a GPU, 4 on a CPU."""
    calls: int = 12
    """Calls of the network in a sampling run."""
    seconds: float = 0.5
    """Least time of each of the three repeats."""
    precision: Precision | None = None
    """What the network computes in; fp8: NVIDIA GPUs from Ada on, with torchao. Default: bf16 on a
    GPU, fp32 on a CPU."""
    compile: bool | None = None
    """Compile the network. Default: on a GPU."""
    device: DeviceName = None
    out: Path | None = None
    """Also write the table as JSON, with hardware, versions and commit."""


def speed(args: Sequence[str]) -> None:
    """Run the command."""
    options = parse(
        Options,
        args,
        prog="patch-forcing bench speed",
        description="Images a second, beside what the machine could do at best.",
        example="patch-forcing bench speed B/2",
    )
    if options.out is not None:
        check_file("--out", options.out, ".json")
        check_replaced("--out", options.out, own=is_report)
    if options.batch_size is not None:
        check_range("--batch-size", options.batch_size, 1)
    check_range("--calls", options.calls, 4, 10_000)  # a dual loop's step takes four
    check_range("--seconds", options.seconds, 0, 600)
    report = _measure(options, parse_device(options.device))
    print("\nshare: of the matrix product's rate, counting what a forward with one time needs")
    if options.out is not None:
        write_atomic(options.out, json.dumps(report, indent=1) + "\n")
        print(f"written: {options.out}")


def _measure(options: Options, device: str) -> dict[str, object]:
    """Print the table, row by row, and return what a report holds of it."""
    on_gpu = device.startswith("cuda")
    batch_size = options.batch_size or (64 if on_gpu else 4)
    precision: Precision = options.precision or ("bf16" if on_gpu else "fp32")
    compiled = on_gpu if options.compile is None else options.compile
    if compiled:
        check_compiler(device, "add --compile False")
    if options.model.partition("/")[0] in ("S", "B", "L", "XL"):
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
