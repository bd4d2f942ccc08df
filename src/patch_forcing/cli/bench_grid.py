"""`patch-forcing bench grid MODEL`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from patch_forcing.cli.options import DeviceName, ModelName, check_out, parse, parse_device
from patch_forcing.core.errors import check_range
from patch_forcing.generation.find import check_model
from patch_forcing.io.model_layout import check_target


@dataclass(frozen=True)
class Options:
    """What `bench grid` takes."""

    model: ModelName
    images: int = 32
    """Images whose flow is followed."""
    steps: int = 48
    """Equal steps in which it is followed."""
    seed: int = 0
    """Seed of the first image; the others count on."""
    out: Path | None = None
    """Model folder to write, weights as stored and grid; may be MODEL itself. Default: print
    only."""
    device: DeviceName = None


def grid(args: Sequence[str]) -> None:
    """Run the command."""
    options = parse(
        Options,
        args,
        prog="patch-forcing bench grid",
        description="Fit a time grid: steps are short where their errors matter at the end.",
        example="patch-forcing bench grid runs/digits --out models/digits",
    )
    check_range("--images", options.images, 1, 256)
    check_range("--steps", options.steps, 8, 1000)
    if options.out is not None:
        check_out("--out", options.out)
        check_target(options.out)
    check_model(options.model)
    from patch_forcing.generation.fit import fit_time_grid
    from patch_forcing.generation.pipeline import load
    from patch_forcing.models.folder import read_folder, save_folder

    pipe = load(options.model, parse_device(options.device))
    seeds = range(options.seed, options.seed + options.images)
    quantiles = fit_time_grid(pipe.model, seeds, options.steps)
    half = quantiles[len(quantiles) // 2]
    print(f"half of all steps before t = {half:.3f}; equal shares of them end at")
    print("  " + " ".join(f"{time:.3f}" for time in quantiles))
    if options.out is None:
        print("next: the same with --out FOLDER, a model that uses it by default")
        return
    stored = read_folder(pipe.folder)  # not pipe.model, whose weights are fp32 whatever is stored
    info = replace(stored.sampling_info, time_quantiles=quantiles)
    save_folder(options.out, stored._replace(sampling_info=info))
    print(f"written: {options.out}, which now samples on this grid unless told otherwise")
