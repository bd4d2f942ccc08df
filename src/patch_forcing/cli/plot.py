"""`patch-forcing plot RUN [RUN …]`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from patch_forcing.cli.options import check_file, check_replaced, parse
from patch_forcing.core.errors import UserError
from patch_forcing.core.extras import install_line


@dataclass(frozen=True)
class Options:
    """What `plot` takes."""

    runs: Positional[Annotated[tuple[Path, ...], arg(metavar="RUN [RUN …]")]]
    """Run folders; each has its colour."""
    out: Path | None = None
    """The picture. Default: RUN/plot.png; of several runs, plot.png."""


def plot(args: Sequence[str]) -> None:
    """Run the command."""
    options = parse(
        Options,
        args,
        prog="patch-forcing plot",
        description="Curves of trainings in one PNG: loss, images held out, loss by time, "
        "calibration of the difficulty, throughput. docs/watching.md shows what good ones look "
        "like.",
        example="patch-forcing plot runs/digits",
    )
    from patch_forcing.io.image_file import is_own_image
    from patch_forcing.io.run_metrics import METRICS, read_metrics
    from patch_forcing.views.charts import can_draw
    from patch_forcing.views.curves import training_curves

    if not options.runs:
        raise UserError("plot needs a run folder: patch-forcing plot runs/digits")
    if not can_draw():
        raise UserError(f"plot needs matplotlib: {install_line('bench')}")
    runs = {}
    folders = list(dict.fromkeys(options.runs))
    for run, name in zip(folders, _names(folders), strict=True):
        runs[name] = read_metrics(run)
        if not runs[name]:
            raise UserError(
                f"{run} has no line of {METRICS} yet: name the folder of a training that got to "
                "its first --log-every steps"
            )
    out = options.out or (folders[0] if len(folders) == 1 else Path()) / "plot.png"
    check_file("--out", out, ".png")
    check_replaced("--out", out, own=is_own_image)
    out.parent.mkdir(parents=True, exist_ok=True)
    training_curves(runs, out)
    print(f"{', '.join(runs)}: {out}")


def _names(runs: Sequence[Path]) -> list[str]:
    """The name of each folder, or its path where two have the same."""
    count = Counter(run.absolute().name for run in runs)
    return [str(run) if count[run.absolute().name] > 1 else run.absolute().name for run in runs]
