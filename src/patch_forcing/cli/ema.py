"""`patch-forcing ema RUN`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from patch_forcing.cli.options import check_out, parse
from patch_forcing.core.errors import UserError
from patch_forcing.io.run_layout import check_run_folder


@dataclass(frozen=True)
class Options:
    """What `ema` takes."""

    run: Positional[Annotated[Path, arg(metavar="RUN")]]
    """A run folder whose training kept snapshots."""
    width: str
    """Widths, such as 0.08 or 0.05,0.1,0.15: the standard deviation of the steps averaged over,
    as a share of the steps so far."""
    out: Path
    """New model folder; of several widths, a folder with one of each."""
    step: int | None = None
    """Average up to this step, which has a snapshot. Default: the last."""


def ema(args: Sequence[str]) -> None:
    """Run the command."""
    options = parse(
        Options,
        args,
        prog="patch-forcing ema",
        description="Averaged weights of other lengths, made of the snapshots that a run stored.",
        example="patch-forcing ema runs/digits --width 0.05,0.1 --out models/digits",
    )
    widths = _widths(options.width)
    check_out("--out", options.out)
    check_run_folder(options.run)
    from patch_forcing.runs.snapshots import reconstruct_ema

    made = reconstruct_ema(options.run, widths, options.out, step=options.step)
    for width, folder in zip(widths, made, strict=True):
        print(f"width {width:g}: {folder}")
    print(f"next: patch-forcing sample {made[0]}")


def _widths(text: str) -> list[float]:
    widths = []
    for part in text.split(","):
        try:
            widths.append(float(part))
        except ValueError:
            raise UserError(
                f"--width {text!r}: {part!r} is no number: write for example 0.08 or 0.05,0.1"
            ) from None
    return widths
