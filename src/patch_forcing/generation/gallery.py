"""What a run of the pipeline leaves on disk: images, sheets, maps, a film, and their record.

And the sheet that training draws of its newest weights.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from PIL import Image

from patch_forcing.generation.conditions import Conditions
from patch_forcing.generation.decoder import find_decoder
from patch_forcing.generation.pipeline import Pipeline
from patch_forcing.generation.request import Sampling
from patch_forcing.generation.result import PipelineResult
from patch_forcing.generation.sample_folder import SampleFolder
from patch_forcing.generation.sizes import num_patches
from patch_forcing.io.image_file import save_image
from patch_forcing.io.run_layout import step_folder
from patch_forcing.models.dit import PatchDiT
from patch_forcing.views.sheets import MAX_COLUMNS, sample_sheet


def write_samples(
    result: PipelineResult, pipe: Pipeline, out: Path, *, maps: bool = False, film: bool = False
) -> None:
    """Images, sheet and samples.json; of a result with a trace also maps and a film, if wanted.

    Earlier samples there give way. Raises UserError if images are there that are not of these, or
    another command writes there.
    """
    folder = SampleFolder(out)
    with folder.claimed(result.seeds):
        rows = sample_rows(result, pipe)
        for seed, image, row in zip(result.seeds, result.images, rows, strict=True):
            save_image(image, folder.image(seed), settings_of(row))
        save_image(result.sheet(), folder.sheet)
        if maps:
            save_image(result.maps(), folder.maps)
        if film:
            result.film(folder.film)
        folder.write_rows(rows)
        folder.finish()


def save_sheet(
    images: Sequence[Image.Image], captions: Sequence[str], path: Path, title: str = ""
) -> None:
    """The sheet of images that are not of one result (`views.sheets.sample_sheet`)."""
    save_image(sample_sheet(images, captions, title), path)


def write_model_sheet(
    model: PatchDiT, run: Path, step: int, images: int | None = None, num_steps: int | None = None
) -> Path:
    """samples/step-00002000.png of a run: the first images that the model recommends, of the same
    seeds each time, with their difficulty. No random state is touched.

    images: at most so many. num_steps: of the default sampler, in place of what is recommended.
    Raises UserError if a model's latents cannot be decoded here.
    """
    info, channels = model.data_info, model.config.in_channels
    decoder = find_decoder(run, info, channels, device=model.pos_embed.device)
    pipe = Pipeline(run.name, run, model, autoencoder=decoder)
    chosen = pipe.choose({}, {} if num_steps is None else {"num_steps": num_steps})
    seeds = range(min(images or MAX_COLUMNS, MAX_COLUMNS, len(chosen.conditions)))
    conditions = chosen.conditions.for_seeds(seeds)
    result = pipe.sample(pipe.resolve(chosen.request), conditions, seeds, trace=True)
    path = step_folder(run / "samples", step).with_suffix(".png")
    path.parent.mkdir(exist_ok=True)
    save_image(result.maps(), path)
    return path


def settings_of(row: dict[str, object]) -> dict[str, object]:
    """What of a row of samples.json is written into the image: all but how long it took."""
    return {name: value for name, value in row.items() if name != "seconds"}


def sample_rows(result: PipelineResult, pipe: Pipeline) -> list[dict[str, object]]:
    """samples.json: how each image came about."""
    seconds = round(result.seconds / len(result.seeds), 4)
    nfe = result.image_nfe
    rows = image_rows(pipe, result.sampling, result.conditions, result.seeds, nfe, seconds)
    return [{**row, **result.details()} for row in rows]


def image_rows(
    pipe: Pipeline,
    sampling: Sampling,
    conditions: Conditions,
    seeds: Sequence[int],
    image_nfe: Iterable[float],
    seconds: float | None,
) -> Iterator[dict[str, object]]:
    """The same of images that were made before. seconds: for an image; None if nobody knows."""
    space = None if pipe.autoencoder is None else pipe.autoencoder.space
    decoder = {} if space is None else {"autoencoder": space.name, "autoencoder_hash": space.hash}
    patches = num_patches(pipe.model.config, sampling.cells)
    for i, (seed, nfe) in enumerate(zip(seeds, image_nfe, strict=True)):
        yield {
            "seed": seed,
            **conditions.record(i),
            **sampling.record(),
            "nfe": round(nfe, 6),
            "token_evaluations": round(nfe * patches),
            "seconds": seconds,
            "precision": pipe.precision,
            **decoder,
            "model": pipe.name,
            "model_hash": pipe.hash,
        }
