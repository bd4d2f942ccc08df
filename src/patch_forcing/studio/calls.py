"""What the buttons of a page do, as functions of what its fields hold; without Gradio."""

import base64
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

from PIL import Image

from patch_forcing.core.errors import UserError
from patch_forcing.generation.edit_request import EditRequest
from patch_forcing.generation.pipeline import Pipeline
from patch_forcing.sampling.guidance_kinds import DEFAULT_KIND
from patch_forcing.studio.desk import Desk, Studio
from patch_forcing.studio.form import Form
from patch_forcing.studio.jobs import (
    Job,
    defaults,
    edit_job,
    fitted,
    hardest,
    read_mask,
    sample_job,
)

NO_IMAGE = "no image to edit: load one, or press “edit” below a picture that you sampled"


class Painting(NamedTuple):
    """What a painter shows: an image, a change map of its size, and the side of a patch.

    notes: sentences on what was done to fit them.
    """

    image: Image.Image
    mask: Image.Image
    patch: int
    notes: tuple[str, ...] = ()


class Calls:
    """What buttons do, by the desk of their tab. Nothing of a tab is shared with another.

    values: what the fields hold, in the order of a `Form`.
    """

    def __init__(self, studio: Studio):
        self.studio = studio

    def sample(self, desk: Desk, *values: Any) -> list[Job]:
        """Images by the form."""
        pipe, form = self._form(desk, values)
        return [sample_job(pipe, form)]

    def compare(self, desk: Desk, second: str, *values: Any) -> list[Job]:
        """The same with a second sampler, at the same budget."""
        pipe, form = self._form(desk, values)
        return [sample_job(pipe, form), sample_job(pipe, form.by(second or ""))]

    def edit(self, desk: Desk, mask: str, *values: Any) -> list[Job]:
        """The image of the desk, repainted. mask: a PNG as a URL, as a painter sends it."""
        pipe, form = self._form(desk, values)
        image, _ = fitted(pipe, _image(desk))
        drawn = read_url(mask) if mask else Image.new("L", image.size)
        return [edit_job(pipe, form, image, drawn)]

    def load_image(self, desk: Desk, model: str, file: str | Image.Image) -> Painting:
        """An image to edit, with nothing painted yet."""
        pipe = self.studio.pipe(model)
        source = EditRequest(strength=0.5).read(file)
        image, notes = fitted(pipe, source.pixels)
        desk.image, notes = source.pixels, [*source.notes, *notes]
        return Painting(image, Image.new("L", image.size), pipe.pixels_per_patch, tuple(notes))

    def refit(self, desk: Desk, model: str) -> Painting:
        """The image of the desk for a model, with nothing painted."""
        return self.load_image(desk, model, _image(desk))

    def choose_model(self, desk: Desk, model: str, seeds: str) -> bool:
        """Fills the form of the desk in as a model recommends, for the same seeds; says whether it
        was another model before.
        """
        before = self.studio.models[0] if desk.form is None else desk.form.model
        if model == before:
            return False
        desk.form = Form(model, **defaults(self.studio.pipe(model)), seeds=seeds)
        return True

    def load_map(self, desk: Desk, model: str, file: str) -> Painting:
        """A change map of a file."""
        pipe = self.studio.pipe(model)
        image, _ = fitted(pipe, _image(desk))
        mask, notes = read_mask(image, file)
        return Painting(image, mask, pipe.pixels_per_patch, tuple(notes))

    def start_from_hardest(self, desk: Desk, model: str, percent: float) -> Painting:
        """The change map of the patches whose difficulty is predicted highest."""
        pipe = self.studio.pipe(model)
        image, _ = fitted(pipe, _image(desk))
        return Painting(image, hardest(pipe, image, percent / 100), pipe.pixels_per_patch)

    def _form(self, desk: Desk, values: Sequence[Any]) -> tuple[Pipeline, Form]:
        desk.form = read_form(values)
        return self.studio.pipe(desk.form.model), desk.form


def read_form(values: Sequence[Any]) -> Form:
    """The form that fields give. Raises UserError for a number that is missing."""
    model, labels, prompts, sampler, nfe, guidance, low, high, kind, seeds = values
    for name, number in {"budget": nfe, "guidance": guidance, "from t": low, "to t": high}.items():
        if not isinstance(number, int | float):
            raise UserError(f"{name} is empty: give a number")
    shown, lines, kind = tuple(labels or ()), prompts or "", kind or DEFAULT_KIND
    return Form(model, shown, lines, sampler or "", nfe, guidance, low, high, kind, seeds)


def read_url(url: str) -> Image.Image:
    """The image that a painter sent. Raises UserError if it is none."""
    try:
        content = base64.b64decode(url.partition("base64,")[2], validate=True)
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            return image.convert("L")
    except (ValueError, OSError):
        raise UserError("the change map cannot be read: load the page again") from None


def _image(desk: Desk) -> Image.Image:
    """What is edited. Raises UserError if nothing is."""
    if desk.image is None:
        raise UserError(NO_IMAGE)
    return desk.image
