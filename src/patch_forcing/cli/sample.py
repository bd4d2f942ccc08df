"""`patch-forcing sample MODEL`."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tyro.conf import OmitArgPrefixes

from patch_forcing.cli.options import (
    DeviceName,
    ModelName,
    check_file,
    check_out,
    parse,
    parse_place,
)
from patch_forcing.cli.sampling_options import SamplingOptions
from patch_forcing.core.errors import UserError, check_range
from patch_forcing.generation.condition_kinds import condition_keywords
from patch_forcing.generation.gallery import write_samples
from patch_forcing.generation.numbers import parse_numbers
from patch_forcing.generation.pipeline import load
from patch_forcing.generation.sample_folder import SampleFolder
from patch_forcing.generation.sample_shards import SampleJob, ShardOptions
from patch_forcing.models.options import Precision
from patch_forcing.views.progress import progress_bar


@dataclass(frozen=True)
class Options:
    """What `sample` takes."""

    model: ModelName
    labels: str | None = None
    """Class numbers or names, such as 3,7 or 0-9. One serves all seeds; several go round, seed i
    shows label i mod their number, unless there are as many of both. all: each class in turn; none:
    unconditional. A comma belongs to a name where a class is called so. Default: as the model
    recommends."""
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
    precision: Precision = "fp32"
    """What the network computes in: fp32, bf16, or fp8 (NVIDIA GPUs from Ada on, with torchao)."""
    autoencoder: Path | None = None
    """Of a model of latents: where its autoencoder lies, if not where it did: a folder, a Hub
    id."""
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
    check_out("--out", options.out)
    SampleFolder(options.out).check()
    rank, world, device = parse_place(options.device)
    if options.npz is not None:
        check_file("--npz", options.npz, ".npz")
    elif world > 1:
        raise UserError(f"{world} processes share the images of --npz only: add --npz FILE")
    elif not options.pngs:
        raise UserError("--no-pngs without --npz keeps no images: add --npz FILE")
    elif options.shard_size is not None:
        raise UserError(f"--shard-size {options.shard_size} without --npz: add --npz FILE")
    pipe = load(
        options.model,
        device,
        precision=options.precision,
        compile=options.compile,
        autoencoder=options.autoencoder,
        preview=options.preview,
    )
    weak = None
    if options.sampling.autoguidance is not None:
        weak = load(options.sampling.autoguidance, device, precision=options.precision)
    texts = {key: text for key, text in vars(options).items() if key in condition_keywords()}
    chosen = pipe.choose(texts, options.sampling.given(weak))
    seeds = _seeds(options, len(chosen.conditions))
    conditions = chosen.conditions.for_seeds(seeds)
    sampling = pipe.resolve(chosen.request)
    if chosen.from_model and rank == 0:
        print(f"as {options.model} recommends: {chosen.from_model}")
    few = sampling.few(pipe.model.config.num_patches)
    if few and rank == 0:
        print(few)
    images = "1 image" if len(seeds) == 1 else f"{len(seeds)} images"
    if options.npz is not None:
        size = ShardOptions.shard_size if options.shard_size is None else options.shard_size
        how = ShardOptions(size, options.batch_size, options.pngs, options.maps, options.film)
        job = SampleJob(pipe, sampling, conditions, seeds, options.npz, options.out, how)
        _share(job, images, options.npz, rank, world)
        return
    with progress_bar(None, total=len(seeds), unit="image") as bar:
        size, update, trace = options.batch_size, bar.update, options.maps or options.film
        result = pipe.sample(
            sampling, conditions, seeds, batch_size=size, trace=trace, advance=update
        )
    write_samples(result, pipe, options.out, maps=options.maps, film=options.film)
    print(
        f"{images} with {result.nfe:g} evaluations each in {result.seconds:.1f} s: "
        f"{SampleFolder(options.out).sheet}"
    )


def _share(job: SampleJob, images: str, npz: Path, rank: int, world: int) -> None:
    """This process's part of an array of images."""
    if rank == 0 and job.shards > 1:
        print(f"{images} in {job.shards} shards, {job.gib:.3g} GiB, twice that for a while")
    started = time.perf_counter()
    done = job.run(rank, world, progress=None if rank == 0 else False)
    seconds = time.perf_counter() - started
    kept = f", {done.kept} were there" if done.kept else ""
    if job.shards > 1:
        print(f"{done.made} of {done.shards} shards made in {seconds:.1f} s{kept}")
    if done.nfe is None:
        print(f"other processes have shards to make; the last one writes {npz}")
    else:
        print(f"{images} with {done.nfe:g} evaluations each: {npz}")


def _seeds(options: Options, conditions: int) -> list[int]:
    """Those that were given, or one for each condition. Raises UserError if one is there twice."""
    if options.count is not None:
        check_range("--count", options.count, 1)
        if options.seeds is not None:
            raise UserError(f"--count {options.count} and --seeds exclude each other: give one")
        return list(range(options.count))
    if options.seeds is None:
        return list(range(conditions))
    seeds = parse_numbers("--seeds", options.seeds)
    if len(set(seeds)) < len(seeds):
        twice = next(seed for seed in seeds if seeds.count(seed) > 1)
        raise UserError(f"--seeds: {twice} is there twice, and images are named by their seed")
    return seeds
