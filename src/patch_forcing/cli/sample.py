"""`patch-forcing sample MODEL`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction, arg

from patch_forcing.cli.options import (
    DeviceName,
    check_file,
    check_out,
    parse,
    parse_place,
)
from patch_forcing.cli.sampling_options import SamplingOptions, given_prompts, parse_seeds
from patch_forcing.core.errors import UserError, check_range
from patch_forcing.generation.condition_check import check_conditions
from patch_forcing.generation.find import check_model
from patch_forcing.generation.like import Like, read_like
from patch_forcing.generation.sample_folder import SampleFolder
from patch_forcing.models.options import Precision

_MODEL = "A bundled name, a run folder, a model folder or a Hub id. Default: that of --like."


@dataclass(frozen=True)
class Options:
    """What `sample` takes."""

    model: Positional[Annotated[str, arg(metavar="MODEL", help=_MODEL)]] = ""
    labels: str | None = None
    """Class numbers or names, such as 3,7 or 0-9. One serves all seeds; several go round, seed i
    shows label i mod their number, unless there are as many of both. all: each class in turn; none:
    unconditional. A comma belongs to a name where a class is called so. Default: as the model
    recommends."""
    prompt: Annotated[tuple[str, ...], UseAppendAction] = ()
    """Of a model of texts: what the images show. One serves all seeds; several, with the option
    again, go round as labels do; none: unconditional."""
    prompts: Path | None = None
    """A text file of prompts, one a line, in place of --prompt."""
    like: Path | None = None
    """Sample as this PNG was made, which sample or the studio wrote: its model, label or prompt,
    seed, sampler and guidance. What is given besides comes in place of it: an option of guidance in
    place of all of its guidance, one of the sampler, its steps or its grid in place of all
    these."""
    sampling: OmitArgPrefixes[SamplingOptions] = field(default_factory=SamplingOptions)
    seeds: str | None = None
    """Seeds, such as 0-15: one image each. Default: as many as there are labels, from 0."""
    count: int | None = None
    """So many images, of seeds from 0; in place of --seeds."""
    maps: bool = False
    """Also write sheets/maps.png: where the first 16 images were hard, and which patches went ahead
    if the sampler lets some."""
    film: bool = False
    """Also write sheets/film.gif: the first 4 images as they are made, with the times and
    difficulties of their patches."""
    npz: Path | None = None
    """Also write the images as one array: arr_0, uint8, NHWC, in seed order. Finished shards are
    kept until it is complete: the same command goes on where it stopped, and several processes
    (torchrun, or RANK and WORLD_SIZE) share the work, with the same result."""
    shard_size: int | None = None
    """With --npz: images kept at once (256), which is what a stopped command loses at most."""
    pngs: bool = True
    """Write SEED.png for each seed; --no-pngs where --npz holds them."""
    out: Path = Path("samples")
    """Folder for SEED.png, sheets/sheet.png and samples.json; earlier samples there give way."""
    batch_size: int = 64
    """Images sampled at once; changes speed and memory, and a few bytes of an image by ±1."""
    precision: Precision | None = None
    """What the network computes in: fp32 (the default, or as --like), bf16, or fp8 (NVIDIA GPUs
    from Ada on, with torchao)."""
    autoencoder: Path | None = None
    """Of a model of latents: where its autoencoder lies, if not where it did: a folder, a file
    of TAEF2, a Hub id."""
    preview: Path | None = None
    """A tiny decoder in place of the autoencoder, fast and less sharp: taesd, a folder or a Hub
    id."""
    compile: bool = False
    """Compile the network: half a minute for each shape, then faster, most of all on a GPU. It
    takes a C++ compiler (g++) and Python's headers."""
    device: DeviceName = None


def sample(args: Sequence[str]) -> None:
    """Run the command."""
    options = parse(
        Options,
        args,
        prog="patch-forcing sample",
        description="Sample images, one PNG for each seed, a sheet and samples.json.",
        example="patch-forcing sample emoji-64 --labels cat-face,drink --count 8",
    )
    check_range("--batch-size", options.batch_size, 1)
    if not options.model and options.like is None:
        raise UserError("MODEL is missing: name one, such as emoji-64, or give --like FILE")
    like = None if options.like is None else read_like(options.like)
    model = options.model if like is None else options.model or like.model
    check_model(model)
    options.sampling.check()
    numbers = parse_seeds(options.seeds, options.count)
    request = options.sampling.given()
    if like is not None:
        _check_apart(like, options.out)
        numbers, request = [like.seed] if numbers is None else numbers, like.request(request)
    conditions = {
        "labels": options.labels,
        "prompt": given_prompts(options.prompt, options.prompts),
    }
    check_conditions(model, conditions)
    check_out("--out", options.out)
    SampleFolder(options.out).check()
    if options.npz is not None:
        check_file("--npz", options.npz, ".npz")
    elif not options.pngs:
        raise UserError("--no-pngs without --npz keeps no images: add --npz FILE")
    elif options.shard_size is not None:
        raise UserError(f"--shard-size {options.shard_size} without --npz: add --npz FILE")
    place = parse_place(options.device)
    if place.world > 1 and options.npz is None:
        raise UserError(f"{place.world} processes share the images of --npz only: add --npz FILE")
    from patch_forcing.cli.sampling import sample_and_write

    sample_and_write(options, like, conditions, request, numbers, place)


def _check_apart(like: Like, out: Path) -> None:
    """Raises UserError for a file that earlier samples there would give way with."""
    if out.resolve() in like.file.resolve().parents:
        raise UserError(
            f"--like {like.file} lies in --out {out}, where earlier samples give way: choose "
            "another --out"
        )
