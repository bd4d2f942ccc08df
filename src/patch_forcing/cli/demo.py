"""`patch-forcing demo`."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from patch_forcing.cli.options import parse, parse_device
from patch_forcing.cli.sample import captions_of, write_sheet
from patch_forcing.core.errors import UserError
from patch_forcing.runs.generate import to_uint8
from patch_forcing.runs.pipeline import load
from patch_forcing.views.film import film_frames, save_film
from patch_forcing.views.images import to_pil
from patch_forcing.views.maps import maps_sheet

MODEL, ROWS = "digits", 4
SAMPLER, SLOW_SAMPLER = "dual-loop", "dual-loop:inner_steps=8"
"""The film's sampler takes as many evaluations in longer steps: easy patches are visibly ahead."""


@dataclass(frozen=True)
class Options:
    """What `demo` takes."""

    out: Path = Path("demo")
    """Folder for sheet.png, maps.png and film.gif."""
    seed: int = 0
    """Seed of the first image; the others count on."""
    device: str | None = None
    """cpu, cuda, cuda:1, mps; default: a GPU if there is one."""


def demo(args: Sequence[str]) -> None:
    """Run the command."""
    options = parse(
        Options,
        args,
        prog="patch-forcing demo",
        description="Images, difficulty and time maps, and a film, from the bundled model.",
    )
    out = options.out
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file: name a folder")
    started = time.perf_counter()
    pipe = load(MODEL, parse_device(options.device))
    classes = pipe.model.config.num_classes
    many = pipe(
        [*range(classes)] * ROWS,
        range(options.seed, options.seed + ROWS * classes),
        sampler=SAMPLER,
    )
    few = pipe(
        range(classes),
        range(options.seed, options.seed + classes),
        sampler=SLOW_SAMPLER,
        num_steps=6,
        trace=True,
    )
    assert few.trace is not None
    info, patch_size = pipe.model.data_info, pipe.model.patch_size
    out.mkdir(parents=True, exist_ok=True)
    write_sheet(many, captions_of(many, pipe), out / "sheet.png")
    captions = captions_of(few, pipe)
    maps_sheet(few.images, captions, few.trace, patch_size).save(out / "maps.png")
    predictions = [
        [to_pil(image) for image in to_uint8(evaluation.prediction, info)]
        for evaluation in few.trace
    ]
    frames = film_frames(predictions, few.trace, few.images, patch_size, title="dual-loop, ")
    save_film(frames, out / "film.gif")
    print(
        f"{len(many.images)} images of the bundled model {MODEL!r} by {SAMPLER}, "
        f"{many.nfe:g} evaluations each, in {time.perf_counter() - started:.1f} s:\n"
        f"  {out / 'sheet.png'}  the images\n"
        f"  {out / 'maps.png'}   where they were hard, and which patches went ahead\n"
        f"  {out / 'film.gif'}   the sampler at work\n"
        "Next:\n"
        "  patch-forcing sample digits --labels 3,7 --sampler look-ahead --maps\n"
        "  patch-forcing train digits        # 3 minutes on two cores"
    )
