"""`patch-forcing demo`."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from patch_forcing.cli.options import check_out, parse, parse_device
from patch_forcing.runs.find import find_bundled
from patch_forcing.runs.gallery import write_film, write_maps, write_sheet
from patch_forcing.runs.pipeline import load

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
    """cpu, cuda, cuda:1, mps; default: a CUDA GPU if there is one."""


def demo(args: Sequence[str]) -> None:
    """Run the command."""
    options = parse(
        Options,
        args,
        prog="patch-forcing demo",
        description="Images, difficulty and time maps, and a film, from the bundled model.",
    )
    out = options.out
    check_out("--out", out)
    out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    pipe = load(find_bundled(MODEL), parse_device(options.device))
    classes = pipe.model.config.num_classes
    many = pipe(
        [*range(classes)] * ROWS,
        range(options.seed, options.seed + ROWS * classes),
        sampler=SAMPLER,
        trace=True,
        progress=None,
    )
    few = pipe(
        range(classes),
        range(options.seed, options.seed + classes),
        sampler=SLOW_SAMPLER,
        num_steps=6,
        trace=True,
        progress=None,
    )
    write_sheet(many, pipe, out / "sheet.png")
    write_maps(many, pipe, out / "maps.png", most=classes)
    write_film(few, pipe, out / "film.gif")
    print(
        f"{len(many.images)} images of the bundled model {MODEL!r} by {SAMPLER}, "
        f"{many.nfe:g} evaluations each, in {time.perf_counter() - started:.1f} s:\n"
        f"  {out / 'sheet.png'}  the images\n"
        f"  {out / 'maps.png'}   where its first row was hard, and which patches went ahead\n"
        f"  {out / 'film.gif'}   the sampler at work, in longer steps to be seen\n"
        "Next:\n"
        "  patch-forcing sample digits --labels 3,7 --sampler look-ahead --maps\n"
        "  patch-forcing train digits        # 2 minutes on two cores"
    )
