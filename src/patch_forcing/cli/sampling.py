"""Sampling from the command line, once its options are read."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from patch_forcing.cli.options import Place
from patch_forcing.cli.sample import Options
from patch_forcing.cli.written import beside, image_files, made
from patch_forcing.generation.gallery import write_samples
from patch_forcing.generation.like import Like
from patch_forcing.generation.pipeline import Pipeline, load
from patch_forcing.generation.sample_folder import SampleFolder
from patch_forcing.generation.sample_shards import SampleJob, ShardOptions
from patch_forcing.views.progress import progress_bar


def sample_and_write(
    options: Options,
    like: Like | None,
    conditions: Mapping[str, Any],
    request: dict[str, Any],
    numbers: Sequence[int] | None,
    place: Place,
) -> None:
    """Sample, write and print what was written.

    like: whose settings to use. conditions: what was given, by the keywords of their kinds.
    request: fields of a SampleRequest. numbers: the seeds; None: one for each condition.
    """
    precision = options.precision or ("fp32" if like is None else like.precision)
    pipe = load(
        options.model if like is None else options.model or like.model,
        place.device,
        precision=precision,
        compile=options.compile,
        autoencoder=options.autoencoder,
        preview=options.preview,
    )
    if options.sampling.autoguidance is not None:
        request["autoguidance"] = load(
            options.sampling.autoguidance, place.device, precision=precision
        )
    if like is not None:
        conditions = _like(like, pipe, conditions, known=not options.model)
    chosen = pipe.choose(conditions, request)
    seeds = range(len(chosen.conditions)) if numbers is None else numbers
    shown = chosen.conditions.for_seeds(seeds)
    sampling = pipe.resolve(chosen.request)
    if chosen.from_model and place.rank == 0:
        print(f"as {pipe.name} recommends: {chosen.from_model}")
    few = sampling.few(pipe.model.config)
    if few and place.rank == 0:
        print(few)
    if options.npz is not None:
        size = ShardOptions.shard_size if options.shard_size is None else options.shard_size
        how = ShardOptions(size, options.batch_size, options.pngs, options.maps, options.film)
        job = SampleJob(pipe, sampling, shown, seeds, options.npz, options.out, how)
        _share(job, options, seeds, place)
        return
    with progress_bar(None, total=len(seeds), unit="image") as bar:
        size, update, trace = options.batch_size, bar.update, options.maps or options.film
        result = pipe.sample(sampling, shown, seeds, batch_size=size, trace=trace, advance=update)
    write_samples(result, pipe, options.out, maps=options.maps, film=options.film)
    folder = SampleFolder(options.out)
    where = image_files(folder, seeds)
    print(f"{made(len(seeds), result.nfe)} in {result.seconds:.1f} s: {where}")
    print(beside(folder, maps=options.maps, film=options.film))


def _like(
    like: Like, pipe: Pipeline, conditions: Mapping[str, Any], known: bool
) -> Mapping[str, Any]:
    """The conditions given, or else those of an image. known: its own model was loaded.

    Raises UserError if it is another one by now.
    """
    if known:
        decoder = pipe.autoencoder
        like.check(pipe, None if decoder is None else decoder.space.hash)
    if any(value is not None for value in conditions.values()):
        return conditions
    return like.conditions(
        pipe.condition_kind.keyword, same_model=like.row["model_hash"] == pipe.hash
    )


def _share(job: SampleJob, options: Options, seeds: Sequence[int], place: Place) -> None:
    """This process's part of an array of images."""
    folder = SampleFolder(options.out)
    if place.rank == 0 and job.shards > 1:
        print(
            f"{len(seeds)} images in {job.shards} shards, {job.gib:.3g} GiB, twice that for a while"
        )
    started = time.perf_counter()
    done = job.run(place.rank, place.world, progress=None if place.rank == 0 else False)
    seconds = time.perf_counter() - started
    kept = f", {done.kept} were there" if done.kept else ""
    if job.shards > 1:
        print(f"{done.made} of {done.shards} shards made in {seconds:.1f} s{kept}")
    if done.nfe is None:
        print(f"other processes have shards to make; the last one writes {options.npz}")
        return
    pngs = f", {image_files(folder, seeds)}" if options.pngs else ""
    print(f"{made(len(seeds), done.nfe)}: {options.npz}{pngs}")
    print(beside(folder, maps=options.maps, film=options.film))
