"""`patch-forcing sample MODEL`."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from patch_forcing.cli.options import check_file, check_out, parse, parse_numbers, parse_place
from patch_forcing.core.errors import UserError
from patch_forcing.generation.gallery import write_samples
from patch_forcing.generation.pipeline import DEFAULT_SAMPLER, Pipeline, load
from patch_forcing.generation.sample_shards import SampleJob, ShardOptions
from patch_forcing.models.inference import Precision
from patch_forcing.views.progress import progress_bar


@dataclass(frozen=True)
class Options:
    """What `sample` takes."""

    model: Positional[Annotated[str, arg(metavar="MODEL")]]
    """A bundled name, a run folder, a model folder or a Hub id."""
    labels: str | None = None
    """Class numbers or names, such as 3,7 or 0-9: one for all seeds, or one for each; none:
    unconditional. A comma belongs to a name where a class is called so; spaces at a name's ends may
    be left out. all: each class in turn, seed i shows class i mod their number."""
    sampler: str = DEFAULT_SAMPLER
    """adams-bashforth, euler, heun, euler-maruyama, random-order, dual-loop, look-ahead, multirate,
    adaptive; with options: dual-loop:easy_fraction=0.5"""
    steps: int | None = None
    """Time steps. Without --steps and --nfe: as many as 48 evaluations allow, unguided, 24 of
    samplers of second order."""
    nfe: float | None = None
    """Budget of network evaluations per image, guidance counted; in place of --steps. A sampler
    without options takes the best settings known for it."""
    grid: str | None = None
    """How time steps are placed: uniform, shifted:shift=1.6, or fitted, the default of models that
    bring one."""
    guidance: float = 1.0
    """Classifier-free guidance scale; 1 is none, and half the cost."""
    guidance_interval: tuple[float, float] | None = None
    """Times between which guidance acts, such as 0.2 0.9."""
    guidance_schedule: str = "constant"
    """How the guidance scale depends on a patch's time: constant, or linear or cosine, which rise
    from none at noise to twice as much at the end."""
    autoguidance: str | None = None
    """A weaker model, such as an earlier checkpoint's folder, to be guided away from instead of
    from the missing label; with --guidance."""
    compat: str | None = None
    """published: euler, random-order, dual-loop and look-ahead as the published code has them under
    guidance."""
    seeds: str | None = None
    """Seeds, such as 0-15: one image each. Default: as many as there are labels, from 0."""
    maps: bool = False
    """Also write maps.png: where the first 16 images were hard, and which patches went ahead if the
    sampler lets some."""
    npz: Path | None = None
    """Also write the images as one array: arr_0, uint8, NHWC, in seed order. Finished shards are
    kept until it is complete: the same command goes on where it stopped, and several processes
    (torchrun, or RANK and WORLD_SIZE) share the work, with the same result."""
    shard_size: int = 256
    """With --npz: images kept at once, which is what a stopped command loses at most."""
    pngs: bool = True
    """Write SEED.png for each seed; --no-pngs where --npz holds them."""
    out: Path = Path("samples")
    """Folder for SEED.png, sheet.png and samples.json."""
    batch_size: int = 64
    """Images sampled at once; changes speed and memory only."""
    precision: Precision = "fp32"
    """What the network computes in: fp32, bf16, or fp8 (NVIDIA GPUs from Ada on, with torchao)."""
    autoencoder: Path | None = None
    """Of a model of latents: where its autoencoder lies, if not where it did: a folder, a Hub
    id."""
    preview: Path | None = None
    """A tiny decoder in place of the autoencoder, fast and less sharp: taesd, a folder or a Hub
    id."""
    compile: bool = False
    """Compile the network: half a minute for each shape, then faster, most of all on a GPU."""
    device: str | None = None
    """cpu, cuda, cuda:1, mps; default: a CUDA GPU if there is one."""


def sample(args: Sequence[str]) -> None:
    """Run the command."""
    options = parse(
        Options,
        args,
        prog="patch-forcing sample",
        description="Sample images, one PNG for each seed, a sheet and samples.json.",
    )
    check_out("--out", options.out)
    rank, world, device = parse_place(options.device)
    if options.npz is not None:
        check_file("--npz", options.npz, ".npz")
    elif world > 1:
        raise UserError(f"{world} processes share the images of --npz only: add --npz FILE")
    elif not options.pngs:
        raise UserError("--no-pngs without --npz keeps no images: add --npz FILE")
    pipe = load(
        options.model,
        device,
        precision=options.precision,
        compile=options.compile,
        autoencoder=options.autoencoder,
        preview=options.preview,
    )
    weak = None
    if options.autoguidance is not None:
        weak = load(options.autoguidance, device, precision=options.precision)
    labels, seeds = _asked(options, pipe)
    sampling = pipe.sampling(
        sampler=options.sampler,
        num_steps=options.steps,
        nfe=options.nfe,
        time_grid=options.grid,
        guidance_scale=options.guidance,
        guidance_interval=options.guidance_interval,
        guidance_schedule=options.guidance_schedule,
        autoguidance=weak,
        compat=options.compat,
    )
    images = "1 image" if len(seeds) == 1 else f"{len(seeds)} images"
    if options.npz is not None:
        how = ShardOptions(options.shard_size, options.batch_size, options.pngs, options.maps)
        job = SampleJob(pipe, sampling, labels, seeds, options.npz, options.out, how)
        _share(job, images, options.npz, rank, world)
        return
    with progress_bar(None, total=len(seeds), unit="image") as bar:
        size, update = options.batch_size, bar.update
        result = pipe.sample(
            sampling, labels, seeds, batch_size=size, trace=options.maps, advance=update
        )
    write_samples(result, pipe, options.out)
    print(
        f"{images} with {result.nfe:g} evaluations each in {result.seconds:.1f} s: "
        f"{options.out / 'sheet.png'}"
    )


def _share(job: SampleJob, images: str, npz: Path, rank: int, world: int) -> None:
    """This process's part of an array of images."""
    if rank == 0 and job.shards > 1:
        print(f"{images} in {job.shards} shards, {job.gib:.3g} GiB, twice that for a while")
    started = time.perf_counter()
    done = job.run(rank, world, progress=None if rank == 0 else False)
    seconds = time.perf_counter() - started
    found = f", {done.found} were there" if done.found else ""
    if job.shards > 1:
        print(f"{done.made} of {done.shards} shards made in {seconds:.1f} s{found}")
    if done.nfe is None:
        print(f"other processes have shards to make; the last one writes {npz}")
    else:
        print(f"{images} with {done.nfe:g} evaluations each: {npz}")


def _asked(options: Options, pipe: Pipeline) -> tuple[list[int] | None, list[int]]:
    """Labels, one for all or one for each seed, and seeds."""
    names, classes = pipe.model.data_info.class_names, pipe.model.config.num_classes
    every = options.labels == "all" and "all" not in names
    labels = None
    if every and not classes:
        raise UserError(f"--labels all: {pipe.name} has no classes: leave it out")
    if options.labels is not None:
        labels = range(classes) if every else pipe.label_numbers(_labels(options.labels, names))
    count = 1 if labels is None else len(labels)
    seeds = list(range(count)) if options.seeds is None else parse_numbers("--seeds", options.seeds)
    if len(set(seeds)) < len(seeds):
        twice = next(seed for seed in seeds if seeds.count(seed) > 1)
        raise UserError(f"--seeds: {twice} is there twice, and images are named by their seed")
    if every:
        labels = [seed % classes for seed in seeds]
    return None if labels is None else list(labels), seeds


def _labels(text: str, names: Sequence[str]) -> list[int | str]:
    """Class names, numbers and ranges; a number that is a name is that class.

    From the left, the longest run of parts between commas that is a class's name is that class; a
    name as it is written comes before one that differs in spaces at its ends.
    """
    known = {name.strip(): name for name in reversed(names)} | {name: name for name in names}
    longest = 1 + max((name.count(",") for name in names), default=0)
    labels: list[int | str] = []
    parts, start = text.split(","), 0
    while start < len(parts):
        for stop in range(min(start + longest, len(parts)), start, -1):
            written = ",".join(parts[start:stop])
            name = known.get(written, known.get(written.strip()))
            if name is not None:
                labels.append(name)
                break
        else:  # `stop` is start + 1
            name = parts[start].strip()
            number = re.fullmatch(r"\d+(-\d+)?", name)
            labels += parse_numbers("--labels", name) if number else [name]
        start = stop
    return labels
