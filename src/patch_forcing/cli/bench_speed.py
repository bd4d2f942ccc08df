"""`patch-forcing bench speed MODEL`."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from patch_forcing.cli.options import DeviceName, check_file, parse, parse_device
from patch_forcing.core.errors import UserError


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
    precision: Literal["fp32", "bf16", "fp8"] | None = None
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
    )
    if options.out is not None:
        check_file("--out", options.out, ".json")
    if options.batch_size is not None and options.batch_size < 1:
        raise UserError(f"--batch-size {options.batch_size} is out of range: choose 1 or more")
    if not 4 <= options.calls <= 10_000:  # a dual loop's step takes four
        raise UserError(f"--calls {options.calls} is out of range: choose 4 to 10000")
    if not 0 <= options.seconds <= 600:
        raise UserError(f"--seconds {options.seconds} is out of range: choose 0 to 600")
    device = parse_device(options.device)
    import torch

    from patch_forcing.generation.find import find_model
    from patch_forcing.generation.speed import random_model, speeds
    from patch_forcing.io.atomic import write_atomic
    from patch_forcing.io.provenance import commit, hardware, versions
    from patch_forcing.models.config import preset
    from patch_forcing.models.cost import matrix_rate
    from patch_forcing.models.inference import cast_weights, compile_whole
    from patch_forcing.models.loading import load_model

    on_gpu = device.startswith("cuda")
    batch_size = options.batch_size or (64 if on_gpu else 4)
    precision = options.precision or ("bf16" if on_gpu else "fp32")
    compiled = on_gpu if options.compile is None else options.compile
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
    for found in speeds(model, batch_size, options.calls, rate, options.seconds):
        milliseconds = 1e3 * found.timing.median
        line = f"{found.what:32}{milliseconds:10.2f}{found.timing.spread:9.1%}"
        line += f"{found.images_per_second:11.4g}{found.share:8.1%}"
        if found.nfe is not None:
            line += f"{found.nfe:8.4g}{milliseconds / found.nfe:10.2f}"
        print(line, flush=True)
        rows.append(asdict(found))
    print("\nshare: of the matrix product's rate, counting what a forward with one time needs")
    if options.out is not None:
        report = {
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
        write_atomic(options.out, json.dumps(report, indent=1) + "\n")
        print(f"written: {options.out}")
