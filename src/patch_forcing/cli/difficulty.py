"""`patch-forcing evaluate difficulty MODEL DATA`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from patch_forcing.cli.options import (
    DeviceName,
    ModelName,
    check_given,
    check_replaced,
    is_report,
    parse,
    parse_device,
)
from patch_forcing.cli.written import print_record
from patch_forcing.core.errors import UserError, check_range
from patch_forcing.core.extras import install_line
from patch_forcing.core.registry import build
from patch_forcing.core.timestep_options import TIMESTEP_OPTIONS
from patch_forcing.generation.find import check_model
from patch_forcing.models.options import Precision
from patch_forcing.scoring.clean_options import COUNT, MAX_BINS, CleanOptions, clean_folder
from patch_forcing.views.charts import can_draw

_DATA = (
    "Images that the model was not trained on: a folder, arranged as for train folder; the atlas "
    "that data emoji makes, of which new scenes are composed; or latents that encode wrote."
)
_COUNT = f"So many images, in an order that follows from --seed. Default: {COUNT}, if there are."


@dataclass(frozen=True)
class Options:
    """What `evaluate difficulty` takes."""

    model: ModelName
    source: Positional[Annotated[str, arg(metavar="DATA", help=_DATA)]]
    count: Annotated[int | None, arg(help=_COUNT)] = None
    bins: int = 10
    """Equal parts of 0 ≤ t ≤ 1; each image is noised so many times."""
    timesteps: str | None = None
    """Times of the patches, as training draws them, such as ltg:levels=8. Default: all patches of
    an image have one time, which lies in each bin once."""
    data: CleanOptions = field(default_factory=CleanOptions)
    seed: int = 0
    """Of noise, times, and the choice of images."""
    out: Path | None = None
    """Also write the record to FILE.json."""
    markdown: Path | None = None
    """Write the table of the results to this file (.md), not to stderr."""
    json: bool = False
    """Print the record, one JSON object, also to a terminal; to a pipe or a file it is printed
    anyway."""
    chart: Path | None = None
    """Draw a PNG: predicted variance against squared error, for each bin."""
    batch_size: int = 64
    """Images looked at once."""
    precision: Precision = "fp32"
    """What the model computes in: fp32, bf16, or fp8."""
    autoencoder: Path | None = None
    """Of a model of latents: where its autoencoder lies, if not where it did."""
    device: DeviceName = None


def difficulty(args: Sequence[str]) -> None:
    """Run the command."""
    options = parse(
        Options,
        args,
        prog="patch-forcing evaluate difficulty",
        description=(
            "Does the model know where it errs? Predicted variance against the true squared error "
            "of the velocity, patch by patch: a table on stderr, one JSON object on stdout."
        ),
        example="patch-forcing evaluate difficulty emoji-64 data/emoji --chart difficulty.png",
    )
    check_range("--bins", options.bins, 1, MAX_BINS)
    check_range("--batch-size", options.batch_size, 1)
    check_range("--seed", options.seed, 0, 2**62)
    if options.count is not None:
        check_range("--count", options.count, 2)
    if options.timesteps is not None:
        build("timesteps", TIMESTEP_OPTIONS, options.timesteps)
    _check_outputs(options)
    check_model(options.model)
    folder = clean_folder(options.source)
    from patch_forcing.generation.pipeline import load
    from patch_forcing.scoring.clean_images import CleanImages
    from patch_forcing.scoring.difficulty import check_predicts, measure_difficulty

    device = parse_device(options.device)
    pipe = load(options.model, device, precision=options.precision, autoencoder=options.autoencoder)
    check_predicts(pipe)
    images = CleanImages(pipe, folder, options.count, options.data, options.seed)
    report = measure_difficulty(
        pipe,
        images,
        bins=options.bins,
        timesteps=options.timesteps,
        seed=options.seed,
        batch_size=options.batch_size,
        progress=None,
    )
    if options.out is not None:
        report.save(options.out)
    if options.chart is not None:
        report.draw(options.chart)
    if options.markdown is not None:
        report.write_table(options.markdown)
    else:
        print(report.markdown(), file=sys.stderr)
    if report.warning is not None:
        print(f"warning: {report.warning}", file=sys.stderr)
    print_record(report.record, options.json, options.out)


def _check_outputs(options: Options) -> None:
    """Raises UserError, before any work, for files that cannot be written."""
    check_given(
        (
            ("--out", options.out, ".json"),
            ("--markdown", options.markdown, ".md"),
            ("--chart", options.chart, ".png"),
        )
    )
    if options.out is not None:
        check_replaced("--out", options.out, own=is_report)
    if options.chart is not None:
        if not can_draw():
            raise UserError(f"--chart {options.chart} needs matplotlib: {install_line('bench')}")
        from patch_forcing.io.image_file import is_own_image

        check_replaced("--chart", options.chart, own=is_own_image)
