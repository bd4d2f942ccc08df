"""`patch-forcing sample MODEL`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from tyro.conf import Positional, arg

from patch_forcing.cli.options import parse, parse_device, parse_numbers
from patch_forcing.core.errors import UserError
from patch_forcing.io.atomic import write_atomic
from patch_forcing.runs.pipeline import Pipeline, PipelineResult, load
from patch_forcing.views.images import enlarge, grid_sheet
from patch_forcing.views.maps import maps_sheet


@dataclass(frozen=True)
class Options:
    """What `sample` takes."""

    model: Positional[Annotated[str, arg(metavar="MODEL")]]
    """A bundled name, a run folder, a model folder or a Hub id."""
    labels: str | None = None
    """Class numbers or names, such as 3,7 or 0-9: one for all seeds, or one for each; none:
    unconditional."""
    sampler: str = "dual-loop"
    """euler, random-order, dual-loop, look-ahead; with options: dual-loop:easy_fraction=0.5"""
    steps: int | None = None
    """Time steps. Without --steps and --nfe: as many as 48 calls of the network allow."""
    nfe: float | None = None
    """Budget of network evaluations per image, guidance counted; in place of --steps."""
    guidance: float = 1.0
    """Classifier-free guidance scale; 1 is none, and half the cost."""
    guidance_interval: tuple[float, float] | None = None
    """Times between which guidance acts, such as 0.2 0.9."""
    seeds: str | None = None
    """Seeds, such as 0-15: one image each. Default: as many as there are labels, from 0."""
    maps: bool = False
    """Also write maps.png: where each image was hard, and which patches went ahead."""
    npz: Path | None = None
    """Also write the images as one array: arr_0, uint8, NHWC, in seed order."""
    out: Path = Path("samples")
    """Folder for SEED.png, sheet.png and samples.json."""
    batch_size: int = 64
    """Images sampled at once; changes speed and memory only."""
    device: str | None = None
    """cpu, cuda, cuda:1, mps; default: a GPU if there is one."""


def sample(args: Sequence[str]) -> None:
    """Run the command."""
    options = parse(
        Options,
        args,
        prog="patch-forcing sample",
        description="Sample images, one PNG for each seed, a sheet and samples.json.",
    )
    if options.out.exists() and not options.out.is_dir():
        raise UserError(f"--out {options.out} is a file: name a folder")
    if options.batch_size < 1:
        raise UserError(f"--batch-size {options.batch_size} is out of range: choose 1 or more")
    pipe = load(options.model, parse_device(options.device))
    labels = None if options.labels is None else _labels(options.labels)
    count = 1 if labels is None else len(labels)
    seeds = list(range(count)) if options.seeds is None else parse_numbers("--seeds", options.seeds)
    result = pipe(
        labels,
        seeds,
        sampler=options.sampler,
        num_steps=options.steps,
        nfe=options.nfe,
        guidance_scale=options.guidance,
        guidance_interval=options.guidance_interval,
        batch_size=options.batch_size,
        trace=options.maps,
        progress=None,
    )
    write_samples(result, pipe, options)
    print(
        f"{len(seeds)} images with {result.nfe:g} evaluations each in {result.seconds:.1f} s: "
        f"{options.out / 'sheet.png'}"
    )


def _labels(text: str) -> list[int | str]:
    """Numbers, ranges, or class names as they are."""
    labels: list[int | str] = []
    for part in text.split(","):
        name = part.strip()
        labels += parse_numbers("--labels", name) if name[:1].isdecimal() else [name]
    return labels


def write_samples(result: PipelineResult, pipe: Pipeline, options: Options) -> None:
    """Write everything that was asked for."""
    options.out.mkdir(parents=True, exist_ok=True)
    for seed, image in zip(result.seeds, result.images, strict=True):
        image.save(options.out / f"{seed}.png")
    captions = captions_of(result, pipe)
    write_sheet(result, captions, options.out / "sheet.png")
    if result.trace is not None:
        sheet = maps_sheet(
            result.images[:16], captions[:16], result.trace_of(slice(16)), pipe.model.patch_size
        )
        sheet.save(options.out / "maps.png")
    write_atomic(options.out / "samples.json", json.dumps(_rows(result, pipe), indent=1) + "\n")
    if options.npz is not None:
        options.npz.parent.mkdir(parents=True, exist_ok=True)
        np.savez(options.npz, arr_0=result.pixels.permute(0, 2, 3, 1).numpy())


def captions_of(result: PipelineResult, pipe: Pipeline) -> list[str]:
    """The class of each image, or its seed."""
    if result.labels is None:
        return [f"seed {seed}" for seed in result.seeds]
    return [pipe.class_name(label) for label in result.labels]


def write_sheet(result: PipelineResult, captions: list[str], path: Path, most: int = 100) -> None:
    """The first images side by side."""
    tiles = [enlarge(image, 64) for image in result.images[:most]]
    columns = min(10, len(tiles))
    cut = range(0, len(tiles), columns)
    grid_sheet(
        [tiles[i : i + columns] for i in cut],
        captions=[captions[i : min(i + columns, most)] for i in cut],
    ).save(path)


def _rows(result: PipelineResult, pipe: Pipeline) -> list[dict[str, object]]:
    """samples.json: how each image came about."""
    patches = pipe.model.config.num_patches
    return [
        {
            "seed": seed,
            "label": None if result.labels is None else result.labels[i],
            "sampler": result.sampler,
            "grid": result.time_grid,
            "guidance": result.guidance_scale,
            "guidance_interval": result.guidance_interval,
            "nfe": result.nfe,
            "token_evaluations": round(result.nfe * patches),
            "seconds": round(result.seconds / len(result.seeds), 4),
            "model": pipe.name,
            "model_hash": pipe.hash,
        }
        for i, seed in enumerate(result.seeds)
    ]
