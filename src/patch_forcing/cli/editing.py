"""Editing from the command line, once its options are read."""

from collections.abc import Mapping, Sequence
from typing import Any

from patch_forcing.cli.edit import Options
from patch_forcing.cli.written import beside, image_files, made
from patch_forcing.generation.edit_request import EditSource
from patch_forcing.generation.editing import edit_images, make_edit
from patch_forcing.generation.gallery import write_samples
from patch_forcing.generation.pipeline import load
from patch_forcing.generation.sample_folder import SampleFolder


def edit_and_write(
    options: Options,
    source: EditSource,
    conditions: Mapping[str, Any],
    numbers: Sequence[int] | None,
    device: str,
) -> None:
    """Edit, write and print what was written.

    conditions: what was given, by the keywords of their kinds. numbers: the seeds, if any were.
    """
    precision = options.precision
    pipe = load(
        options.model,
        device,
        precision=precision,
        compile=options.compile,
        autoencoder=options.autoencoder,
    )
    given = options.sampling.given()
    if options.sampling.autoguidance is not None:
        given["autoguidance"] = load(options.sampling.autoguidance, device, precision=precision)
    edit = make_edit(pipe, source)
    result = edit_images(
        pipe,
        edit,
        conditions,
        given,
        numbers,
        progress=None,
        batch_size=options.batch_size,
        trace=options.maps or options.film,
    )
    write_samples(result, pipe, options.out, maps=options.maps, film=options.film)
    for note in edit.notes:
        print(note)
    folder = SampleFolder(options.out)
    where = image_files(folder, result.seeds)
    print(f"{made(len(result.seeds), result.nfe)} in {result.seconds:.1f} s: {where}")
    print(beside(folder, maps=options.maps, film=options.film))
