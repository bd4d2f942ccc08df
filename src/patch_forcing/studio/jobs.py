"""From a form to images that can be made: by sampling, or by editing an image."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.core.patches import spread
from patch_forcing.generation.conditions import Conditions, NoConditions
from patch_forcing.generation.edit_request import EditRequest, ImageLike
from patch_forcing.generation.editing import edit_images, hardest_patches, make_edit
from patch_forcing.generation.generate import BatchCallback
from patch_forcing.generation.pipeline import Pipeline
from patch_forcing.generation.result import PipelineResult
from patch_forcing.generation.text_conditions import Prompts
from patch_forcing.studio.form import NO_CLASS, Form, Wording
from patch_forcing.text.conditions import cut_note

EDITED = ("image.png", "mask.png")
"""What the page's downloads of an edit are called, and its command line calls them."""


@dataclass(frozen=True)
class Job:
    """Images to be made, one for each seed.

    run: makes them; it is given what is called with every evaluation. decode: makes images of a
    prediction. notes: sentences on what was chosen. command, python: what makes the same images.
    before: pictures that are shown in front, by file name: of an edit, the image and its map.
    """

    pipe: Pipeline
    form: Form
    seeds: list[int]
    captions: list[str]
    run: Callable[[BatchCallback], PipelineResult]
    decode: Callable[[Tensor], UInt8[Tensor, "B C H W"]]
    notes: tuple[str, ...]
    command: str
    python: str
    before: tuple[tuple[str, Image.Image], ...] = ()


def sample_job(pipe: Pipeline, form: Form) -> Job:
    """Images by a form. Raises UserError, before any work, for what does not fit the model."""
    seeds, keyword = form.numbers, pipe.condition_kind.keyword
    values = {keyword: form.condition(keyword)}
    conditional = _conditional(pipe.choose(values, {}).conditions)
    options = form.options(conditional)
    chosen = pipe.choose(values, options)
    sampling, shown = pipe.resolve(chosen.request), chosen.conditions.for_seeds(seeds)
    wording = Wording(form, keyword, pipe.class_names, values[keyword], options)
    few = sampling.few(pipe.model.config)

    def run(callback: BatchCallback) -> PipelineResult:
        return pipe.sample(sampling, shown, seeds, trace=True, callback=callback)

    return Job(
        pipe,
        form,
        seeds,
        shown.captions(seeds),
        run,
        pipe.decode,
        tuple(filter(None, [*_unguided(form, conditional), *_cut(pipe, shown), few])),
        wording.command(),
        wording.python(),
    )


def edit_job(pipe: Pipeline, form: Form, image: Image.Image, mask: Image.Image) -> Job:
    """An image repainted by a form. image, mask: of the model's size, as `fitted` gives them.

    Without a condition it is repainted under none. Raises UserError as `sample_job`, or if nothing
    would change.
    """
    if not np.asarray(mask).any():
        raise UserError(
            "nothing to change: paint where the image may change, or fill all, and repaint then"
        )
    seeds, keyword = form.numbers, pipe.condition_kind.keyword
    values = {keyword: form.condition(keyword)}
    given = values[keyword] is not None
    under = pipe.choose(values if given else {keyword: "none"}, {}).conditions
    options = form.options(_conditional(under))
    wording = Wording(form, keyword, pipe.class_names, values[keyword], options)
    edit = make_edit(pipe, EditRequest(mask=mask).read(image))

    def run(callback: BatchCallback) -> PipelineResult:
        return edit_images(pipe, edit, values, options, seeds, trace=True, callback=callback)

    return Job(
        pipe,
        form,
        seeds,
        under.for_seeds(seeds).captions(seeds),
        run,
        lambda x_1: edit.blended(pipe.decode(x_1)),
        (*edit.notes, *_unguided(form, _conditional(under)), *_cut(pipe, under)),
        wording.command(EDITED),
        wording.python(EDITED),
        tuple(zip(EDITED, (edit.canvas.image, mask), strict=True)),
    )


def fitted(pipe: Pipeline, image: ImageLike) -> tuple[Image.Image, list[str]]:
    """An image of the model's size and channels, and sentences on what was done to it.

    Raises UserError, naming the file, if it cannot be read.
    """
    source = EditRequest(strength=0.5).read(image)
    canvas = source.canvas(pipe.image_shape)
    return canvas.image, [*source.notes, *filter(None, [canvas.note])]


def read_mask(image: Image.Image, mask: ImageLike) -> tuple[Image.Image, list[str]]:
    """A mask of a fitted image's size, of a file, and sentences on what was done to it."""
    source = EditRequest(mask=mask).read(image)
    return grey(source.mask), list(source.notes)


def hardest(pipe: Pipeline, image: Image.Image, share: float) -> Image.Image:
    """The mask of that share of patches whose difficulty is predicted highest, of a fitted image.

    Raises UserError for shares outside (0, 1], or if the model predicts no difficulty.
    """
    EditRequest(hardest=share)
    patches = hardest_patches(pipe.model, pipe.encode([image]).float(), share)
    drawn = spread(patches[None], pipe.image_shape[1:], pipe.pixels_per_patch)
    return grey(drawn[0, 0].cpu().numpy())


def grey(mask: Float[np.ndarray, "H W"]) -> Image.Image:
    """A mask as users paint it: white may change."""
    return Image.fromarray((mask * 255).round().astype(np.uint8))


def class_choices(pipe: Pipeline) -> list[tuple[str, int]]:
    """What of classes can be chosen, by name: numbers, or NO_CLASS. Empty if there are none."""
    count, names = pipe.model.config.num_classes, pipe.class_names
    if pipe.condition_kind.keyword != "labels" or count == 0:
        return []
    shown = [
        name if names.count(name) <= 1 else f"{name} ({number})"
        for number, name in enumerate(names or [str(number) for number in range(count)])
    ]
    return [("(no class)", NO_CLASS), *((name, number) for number, name in enumerate(shown))]


def defaults(pipe: Pipeline) -> dict[str, Any]:
    """Fields of a form as the model recommends them."""
    advice = pipe.model.sampling_info.recommended
    if not class_choices(pipe) and pipe.condition_kind.keyword == "labels":
        advice = advice.without_guidance()
    low, high = advice.guidance_interval or (0.0, 1.0)
    fields: dict[str, Any] = {"guidance": advice.guidance_scale, "low": low, "high": high}
    if advice.guidance_kind is not None:
        fields["kind"] = advice.guidance_kind
    if advice.sampler is not None:
        fields["sampler"] = advice.sampler
    if advice.nfe is not None:
        fields["nfe"] = advice.nfe
    return fields


def _conditional(conditions: Conditions) -> bool:
    return not isinstance(conditions, NoConditions)


def _cut(pipe: Pipeline, conditions: Conditions) -> list[str]:
    """What of prompts is too long to be read."""
    if not isinstance(conditions, Prompts):
        return []
    texts, reader = tuple(dict.fromkeys(conditions.texts)), conditions.reader()
    read = reader(texts, pipe.model.pos_embed.device)
    return list(filter(None, [cut_note(texts, read.cut, reader.limit)]))


def _unguided(form: Form, conditional: bool) -> list[str]:
    if conditional or form.guidance == 1:
        return []
    return ["made under no condition, so without guidance"]
