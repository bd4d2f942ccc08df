"""`patch-forcing bench speed MODEL`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from patch_forcing.cli.options import (
    DeviceName,
    check_file,
    check_replaced,
    is_report,
    parse,
    parse_device,
)
from patch_forcing.core.errors import check_range
from patch_forcing.generation.find import check_model
from patch_forcing.io.atomic import write_atomic
from patch_forcing.models.options import Precision
from patch_forcing.models.presets import is_preset


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
    if not is_preset(options.model):
        check_model(options.model)
    from patch_forcing.cli.timing import measure_speed

    report = measure_speed(options, parse_device(options.device))
    print("\nshare: of the matrix product's rate, counting what a forward with one time needs")
    if options.out is not None:
        write_atomic(options.out, json.dumps(report, indent=1) + "\n")
        print(f"written: {options.out}")
