"""Editing an image by time: what a request is for a model, and its results.

Patches that may change start on the image's own path, at a time that says how much (the
mathematics: `sampling/edit_field.py`). Samplers, guidance and batches are those of `generate`.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.core.patches import spread
from patch_forcing.core.random import CountedGenerator
from patch_forcing.core.time import PatchTime
from patch_forcing.generation.canvas import Canvas
from patch_forcing.generation.condition_kinds import condition_kind
from patch_forcing.generation.edit_request import EditSource
from patch_forcing.generation.generate import BatchCallback
from patch_forcing.generation.recommended import Chosen
from patch_forcing.generation.result import PipelineResult
from patch_forcing.models.dit import PatchDiT
from patch_forcing.sampling.edit_field import EditField, EditMap, EditPlan, strengths
from patch_forcing.sampling.evaluation import Evaluation
from patch_forcing.sampling.field import VelocityField
from patch_forcing.views.progress import progress_bar
from patch_forcing.views.sheets import framed, sample_sheet

SEEDS = 4
"""Results where nobody says how many."""
LOOK_AT, LOOKS = 0.6, 8
"""`hardest` looks at the image noised to this time, with this many noises. There the predicted
difficulty tells true errors apart best among the times that the paper shows (R = 0.52)."""


@runtime_checkable
class EditPipeline(Protocol):
    """What an edit needs of a `Pipeline`."""

    name: str
    model: PatchDiT

    @property
    def image_shape(self) -> tuple[int, int, int]: ...

    @property
    def pixels_per_patch(self) -> int: ...

    def choose(self, conditions: Mapping[str, Any], options: Mapping[str, Any]) -> Chosen: ...

    def encode(self, images: Sequence[Image.Image]) -> Tensor: ...

    def decode(self, x_1: Tensor) -> Tensor: ...

    @property
    def sample(self) -> Callable[..., PipelineResult]: ...


@dataclass(frozen=True)
class Edit:
    """What of an image changes, for one model.

    pixels: (D, H, W), the image. map: for the sampler. blend: (H, W), the share of what is painted
    in each pixel of the result, 0 where the mask is black.
    """

    source: EditSource
    canvas: Canvas
    pixels: UInt8[Tensor, "D H W"]
    map: EditMap
    blend: Float[Tensor, "H W"]

    @property
    def notes(self) -> list[str]:
        """Sentences on what was made of the image and its mask."""
        patches, kept = len(self.map.strength), self.map.num_kept
        count = f"{patches - kept} of {patches} patches may change"
        return [*self.source.notes, *filter(None, [self.canvas.note]), count]

    def blended(self, painted: UInt8[Tensor, "B D H W"]) -> UInt8[Tensor, "B D H W"]:
        """What was painted over the image; bytes are the image's own where the mask is black."""
        blend = self.blend.to(painted.device)
        original = self.pixels.to(painted.device).float()
        mixed = original + blend * (painted.float() - original)
        return mixed.round().clamp(0, 255).to(torch.uint8)

    def record(self) -> dict[str, object]:
        """What samples.json says of it."""
        data = self.pixels.cpu().numpy().tobytes() + self.canvas.mask.tobytes()
        return {
            "image": self.source.name,
            **self.source.request.record(),
            "moving_patches": len(self.map.strength) - self.map.num_kept,
            "hash": hashlib.sha256(data).hexdigest()[:16],
            "notes": self.notes,
        }


@dataclass(frozen=True)
class EditResult(PipelineResult):
    """The results of an edit, one for each seed; `edit` says of what.

    The sheet begins with the image and its mask.
    """

    edit: Edit

    @property
    def original(self) -> Image.Image:
        """The image as it was edited, of the model's size."""
        return self.edit.canvas.image

    @property
    def mask(self) -> Image.Image:
        """What might change, and how much: white is all."""
        return mask_picture(self.edit.canvas.mask)

    def sheet(self) -> Image.Image:
        """The image, its mask, and the first results side by side."""
        captions = ["original", "may change", *self._captions(slice(None))]
        return sample_sheet([self.original, framed(self.mask), *self.images], captions, self.title)

    def details(self) -> dict[str, object]:
        """The edit."""
        return {"edit": self.edit.record()}


def make_edit(pipe: EditPipeline, source: EditSource) -> Edit:
    """What a request is for a model. Raises UserError if nothing would change."""
    request, shape = source.request, pipe.image_shape
    canvas = source.canvas(shape)
    original = pipe.encode([canvas.image]).float()
    if request.hardest is not None:
        strength = 1.0 if request.strength is None else request.strength
        chosen = hardest_patches(pipe.model, original, request.hardest) * strength
        drawn = spread(chosen[None], shape[1:], pipe.pixels_per_patch)[0, 0].cpu().numpy()
        canvas = replace(canvas, mask=np.maximum(canvas.mask, drawn))
    mask = torch.from_numpy(canvas.mask.copy()).to(original.device)
    factor, size = pipe.pixels_per_patch // pipe.model.patch_size, pipe.model.patch_size
    if not canvas.mask.any():
        raise UserError(
            f"nothing to change: {canvas.note}, and what may change lies outside of it: mark "
            "something within, or crop the image yourself"
        )
    strength_map, fixed = strengths(mask, factor, size)
    feather = pipe.pixels_per_patch // 4 if request.feather is None else request.feather
    blank = torch.from_numpy(canvas.blank.copy()).to(mask.device)
    blend = torch.where(blank, 1.0, feathered(mask > 0, feather))
    pixels = torch.from_numpy(np.array(canvas.image).reshape(*shape[1:], shape[0]))
    edit_map = EditMap(original, strength_map, fixed, size)
    return Edit(source, canvas, pixels.permute(2, 0, 1).contiguous(), edit_map, blend)


def edit_images(
    pipe: EditPipeline,
    edit: Edit,
    conditions: Mapping[str, Any],
    options: Mapping[str, Any],
    seeds: Sequence[int] | None,
    *,
    progress: bool | None = False,
    callback: BatchCallback | None = None,
    **how: Any,
) -> EditResult:
    """One result for each seed. conditions, options: as `Pipeline.choose` takes them; without
    conditions, none. progress: as `progress_bar` takes it. how: as `Pipeline.sample` takes it.
    """
    if all(value is None for value in conditions.values()):
        conditions = {condition_kind(pipe.model, pipe.name).keyword: "none"}
    chosen = pipe.choose(conditions, options)
    shown = chosen.conditions
    numbers = range(max(SEEDS, len(shown))) if seeds is None else seeds
    planned = partial(EditPlan, starts=edit.map.starts)
    if chosen.request.size is not None:
        raise UserError(
            f"size {chosen.request.size} of an edit, which has its image's: leave it out"
        )
    sampling = chosen.request.resolve(pipe.model, pipe.name, planned)
    with progress_bar(progress, total=len(numbers), unit="image") as bar:
        result = pipe.sample(
            sampling,
            shown.for_seeds(numbers),
            numbers,
            advance=bar.update,
            decode=lambda y: edit.blended(pipe.decode(edit.map.finished(y))),
            wrap_field=lambda field: EditField(field, edit.map),
            callback=None if callback is None else _seen(callback, edit.map),
            **how,
        )
    fields = dict(vars(result))
    if result.trace is not None:
        fields["trace"] = [edit.map.seen(evaluation) for evaluation in result.trace]
    fields["decode"] = lambda x_1: edit.blended(pipe.decode(x_1))
    return EditResult(**fields, edit=edit)


def _seen(callback: BatchCallback, edit: EditMap) -> Callable[[Evaluation, tuple[int, ...]], None]:
    return lambda evaluation, seeds: callback(edit.seen(evaluation), seeds)


@torch.no_grad()
def hardest_patches(
    model: PatchDiT, original: Float[Tensor, "1 C H W"], share: float
) -> Float[Tensor, " N"]:
    """1 in the ⌈share·N⌉ patches of the highest predicted difficulty, 0 elsewhere.

    The image is noised to t = 0.6 with eight noises, which are the same each time, and the model is
    given no condition. Raises UserError if it predicts no difficulty.
    """
    looks = CountedGenerator(range(LOOKS), device=original.device).fork("hardest")
    noise = looks.normal(*original.shape[1:])
    x_t = LOOK_AT * original + (1 - LOOK_AT) * noise
    patches = model.config.num_patches
    output = VelocityField(model)(x_t, PatchTime.everywhere(LOOK_AT, x_t, patches))
    if output.difficulty is None:
        raise UserError(f"hardest={share}: this model predicts no difficulty: give a mask")
    mean = output.difficulty.mean(dim=0)
    count = max(1, round(share * patches))
    return torch.zeros_like(mean).scatter_(0, mean.argsort(descending=True)[:count], 1.0)


def feathered(changes: Bool[Tensor, "H W"], pixels: int) -> Float[Tensor, "H W"]:
    """From 0 where nothing changes to 1 at that many pixels within what does; nothing is added at
    the image's own border. Distances are the larger of those along rows and columns.
    """
    inside = changes.float()[None, None]
    total = inside.clone()
    for _ in range(min(pixels, max(changes.shape))):
        inside = -torch.nn.functional.max_pool2d(-inside, 3, stride=1, padding=1)
        total += inside
    return (total / (min(pixels, max(changes.shape)) + 1))[0, 0]


def mask_picture(mask: Float[np.ndarray, "H W"]) -> Image.Image:
    """As users paint it: white may change."""
    return Image.fromarray((mask * 255).round().astype(np.uint8))
