"""`patch-forcing demo`."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from patch_forcing.cli.options import DeviceName, check_out, check_replaced, parse, parse_device
from patch_forcing.core.errors import unknown_name
from patch_forcing.generation.find import find_bundled
from patch_forcing.generation.gallery import write_film, write_maps, write_sheet
from patch_forcing.generation.pipeline import load
from patch_forcing.io.image_file import is_own_image


@dataclass(frozen=True)
class Show:
    """How a bundled model shows itself.

    labels: of its images, the first `num_maps` of which get maps and a film. next_steps: commands
    to go on with. guidance: arguments of the pipeline's call.
    """

    labels: tuple[str, ...]
    num_maps: int
    next_steps: str
    guidance: dict[str, Any] = field(default_factory=dict)


AT_WORK: dict[str, Any] = {"sampler": "dual-loop:inner_steps=5", "num_steps": 10}
"""What maps and film show: few long steps, in which easy patches are visibly ahead."""

_DIGITS = tuple("0123456789")
_EMOJI = (
    *("face-smiling", "food-sweet", "animal-bird", "country-flag"),
    *("transport-ground", "plant-flower", "cat-face", "musical-instrument"),
    *("food-fruit", "animal-marine", "clothing", "heart"),
    *("transport-water", "sky & weather", "drink", "hand-fingers-closed"),
)
SHOWS = {
    "emoji-64": Show(
        labels=_EMOJI,
        num_maps=8,
        guidance={"guidance_scale": 3.0, "guidance_interval": (0.1, 0.8)},
        next_steps='  patch-forcing sample emoji-64 --labels "cat-face,drink" --sampler dual-loop '
        "--maps --guidance 3 --guidance-interval 0.1 0.8\n"
        "  patch-forcing demo --model digits",
    ),
    "digits": Show(
        labels=_DIGITS * 4,
        num_maps=10,
        next_steps="  patch-forcing sample digits --labels 3,7 --sampler look-ahead --maps\n"
        "  patch-forcing train digits        # 2 minutes on two cores",
    ),
}


@dataclass(frozen=True)
class Options:
    """What `demo` takes."""

    model: str = "emoji-64"
    """A bundled model: emoji-64 or digits."""
    out: Path = Path("demo")
    """Folder for sheet.png, maps.png and film.gif."""
    seed: int = 0
    """Seed of the first image; the others count on."""
    device: DeviceName = None


def demo(args: Sequence[str]) -> None:
    """Run the command."""
    options = parse(
        Options,
        args,
        prog="patch-forcing demo",
        description="Images, difficulty and time maps, and a film, from a bundled model.",
    )
    if options.model not in SHOWS:
        raise unknown_name("bundled model", options.model, SHOWS)
    show, out = SHOWS[options.model], options.out
    check_out("--out", out)
    files = [out / name for name in ("sheet.png", "maps.png", "film.gif")]
    check_replaced("--out", *files, own=is_own_image)
    started = time.perf_counter()
    pipe = load(find_bundled(options.model), parse_device(options.device))
    seeds, first = range(options.seed, options.seed + len(show.labels)), slice(show.num_maps)
    result = pipe(show.labels, seeds, progress=None, **show.guidance)
    how = AT_WORK | show.guidance
    traced = pipe(show.labels[first], seeds[first], trace=True, progress=None, **how)
    sheet, maps, film = files
    write_sheet(result, sheet)
    write_maps(traced, pipe, maps)
    write_film(traced, pipe, film)
    guided = f" (guidance {result.guidance_scale:g})" if show.guidance else ""
    print(
        f"{len(seeds)} images of the bundled model {options.model!r} by {result.sampler}, "
        f"{result.nfe:g} evaluations each{guided}, in {time.perf_counter() - started:.1f} s:\n"
        f"  {sheet}  the images\n"
        f"  {maps}   the first {show.num_maps} by a dual loop: where they are hard, "
        "and which patches go ahead\n"
        f"  {film}   that dual loop at work\n"
        f"Next:\n{show.next_steps}"
    )
