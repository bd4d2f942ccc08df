"""`patch-forcing demo`."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patch_forcing.cli.options import DeviceName, check_out, check_replaced, parse, parse_device
from patch_forcing.core.errors import unknown_name
from patch_forcing.generation.find import find_bundled


@dataclass(frozen=True)
class Show:
    """How a bundled model shows itself.

    count: of its images, the first `num_maps` of which get maps and a film. next_steps: commands to
    go on with.
    """

    count: int
    num_maps: int
    next_steps: str


AT_WORK: dict[str, Any] = {"sampler": "dual-loop:inner_steps=5", "num_steps": 10}
"""What maps and film show: few long steps, in which easy patches are visibly ahead."""
SHOWS = {
    "emoji-64": Show(
        count=16,
        num_maps=8,
        next_steps="  patch-forcing info emoji-64        # its classes, and how it is sampled\n"
        "  patch-forcing sample emoji-64 --labels cat-face,drink --count 8 --maps\n"
        "  patch-forcing demo --model digits",
    ),
    "emoji-text": Show(
        count=8,
        num_maps=4,
        next_steps="  patch-forcing sample emoji-text --prompt "
        '"three guitars on a yellow background" --count 4 --maps\n'
        '  patch-forcing studio emoji-text    # needs pip install -e ".[studio]"\n'
        "  patch-forcing demo",
    ),
    "digits": Show(
        count=40,
        num_maps=10,
        next_steps="  patch-forcing sample digits --labels 3,7 --sampler look-ahead --maps\n"
        "  patch-forcing train digits        # 2 minutes on two cores",
    ),
}


@dataclass(frozen=True)
class Options:
    """What `demo` takes."""

    model: str = "emoji-64"
    """A bundled model: emoji-64, emoji-text or digits."""
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
        example="patch-forcing demo --model digits",
    )
    if options.model not in SHOWS:
        raise unknown_name("bundled model", options.model, SHOWS)
    show, out = SHOWS[options.model], options.out
    check_out("--out", out)
    from patch_forcing.io.image_file import is_own_image, save_image

    files = [out / name for name in ("sheet.png", "maps.png", "film.gif")]
    check_replaced("--out", *files, own=is_own_image)
    what = f"{options.model}: {show.count} images, maps and a film, into {out}"
    print(f"{what}; PyTorch is loaded first", flush=True)
    from patch_forcing.generation.pipeline import load

    started = time.perf_counter()
    pipe = load(find_bundled(options.model), parse_device(options.device))
    seeds = range(options.seed, options.seed + show.count)
    result = pipe(seeds=seeds, progress=None)
    traced = pipe(seeds=seeds[: show.num_maps], trace=True, progress=None, **AT_WORK)
    sheet, maps, film = files
    save_image(result.sheet(), sheet)
    save_image(traced.maps(), maps)
    traced.film(film)
    guided = f" (guidance {result.guidance_scale:g})" if result.guidance_scale != 1 else ""
    sampler = traced.sampler.partition(":")[0]
    print(
        f"{len(seeds)} images of the bundled model {options.model!r} by {result.sampler}, "
        f"{result.nfe:g} evaluations each{guided}, in {time.perf_counter() - started:.1f} s:\n"
        f"  {sheet}  the images that `patch-forcing sample {options.model}` makes too\n"
        f"  {maps}   the first {show.num_maps} again, by {sampler}: where the model expects errors,"
        " and which patches go ahead\n"
        f"  {film}   {sampler} at work: easy patches go ahead, and help with the others\n"
        f"{sampler} is another sampler, so its images differ from the sheet's in details.\n"
        f"Next:\n{show.next_steps}"
    )
