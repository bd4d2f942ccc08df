"""Images as a network sees them before noise, with the conditions that go with them."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from patch_forcing.core.errors import UserError, unknown_name
from patch_forcing.data.batch import ReplacesBadSamples, TrainingData
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.image_options import Condition
from patch_forcing.data.latent_shards import INDEX, PLAN
from patch_forcing.data.sources import EmojiSource, EmojiTextSource, FolderSource, LatentsSource
from patch_forcing.generation.pipeline import Pipeline
from patch_forcing.generation.pixels import from_uint8, to_uint8
from patch_forcing.models.config import DataInfo
from patch_forcing.scoring.clean_options import COUNT, CleanOptions, is_atlas

FIRST_SEED = 1004
"""Of emoji scenes: trainings have small seeds, and scenes of other seeds are held out."""


class CleanBatch(NamedTuple):
    """places: which images these are. condition: what the network takes; None is the null."""

    places: range
    x_1: Float[Tensor, "B C H W"]
    condition: Shaped[Tensor, "B ..."] | None


class CleanImages:
    """Images of a folder, scenes of an atlas, or latents that `encode` wrote, none mirrored.

    kind: folder, emoji or latents. condition: what goes with each: class, caption or none.
    """

    def __init__(
        self,
        pipe: Pipeline,
        path: Path,
        count: int | None = None,
        options: CleanOptions | None = None,
        seed: int = 0,
    ):
        """count: of the images in an order that follows from the seed; None: COUNT at most.

        Raises UserError for data that do not fit the model, or are fewer.
        """
        options = options or CleanOptions()
        self.name, self._pipe, self._place, self._seed = str(path), pipe, path, FIRST_SEED + seed
        self.condition = _condition(pipe, options.condition)
        options = replace(options, condition=self.condition)
        self.kind, self._data = _open(pipe, path, options)
        there = self._data.num_samples if isinstance(self._data, ReplacesBadSamples) else None
        self.available = there
        if there is not None and count is not None and count > there:
            raise UserError(f"{path} holds {there} images, --count {count} is more: lower it")
        self.count = min(COUNT, there or COUNT) if count is None else count
        self._classes = (
            _class_numbers(self._data, pipe, path) if self.condition == "class" else None
        )
        self._digest = hashlib.sha256()

    def batches(self, batch_size: int) -> Iterator[CleanBatch]:
        """All of them once, on the model's device. Raises UserError if one is bad."""
        device = self._pipe.model.pos_embed.device
        for step, start in enumerate(range(0, self.count, batch_size)):
            places = range(start, min(start + batch_size, self.count))
            # scenes too are made on a CPU, to be the same everywhere
            spec = BatchSpec(step, batch_size, self._seed, range(len(places)))
            batch = self._data.batch(spec)
            self._check_bad()
            self._digest.update(batch.x_1.contiguous().numpy().tobytes())
            condition = None
            if self._classes is not None and batch.condition is not None:
                condition = self._classes[batch.condition].to(device)
            elif self.condition == "caption" and batch.captions is not None:
                texts = self._pipe.condition_kind.choose(list(batch.captions))
                condition = texts.tensor(device)
            yield CleanBatch(places, self._as_seen(batch.x_1.to(device)), condition)

    def recipe(self) -> dict[str, Any]:
        """What a record says of them, once all were read."""
        return {
            "name": self.name,
            "kind": self.kind,
            "available": self.available,
            "condition": self.condition,
            "hash": self._digest.hexdigest()[:16],
        }

    def _as_seen(self, x_1: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C h w"]:
        if self.kind == "latents":
            return x_1
        if self._pipe.autoencoder is not None:
            return self._pipe.encode(to_uint8(x_1, DataInfo()))
        if self._pipe.model.data_info.data_range == DataInfo().data_range:
            return x_1
        return from_uint8(to_uint8(x_1, DataInfo()), self._pipe.model.data_info)

    def _check_bad(self) -> None:
        bad = self._data.bad_samples() if isinstance(self._data, ReplacesBadSamples) else []
        for path, reason in bad[:1]:
            raise UserError(f"{path} is bad ({reason}): mend or remove it")


def _condition(pipe: Pipeline, wanted: Condition | None) -> Condition:
    """What goes with the images. Raises UserError if the model takes another."""
    own: Condition = "caption" if _takes_texts(pipe) else "class"
    if own == "class" and not pipe.model.config.num_classes:
        own = "none"
    if wanted not in (None, own, "none"):
        other = "" if own == "none" else f"{own} or "
        raise UserError(f"data.condition={wanted} is not of {pipe.name}: choose {other}none")
    return wanted or own


def _open(pipe: Pipeline, path: Path, options: CleanOptions) -> tuple[str, TrainingData]:
    channels, height, width = pipe.image_shape
    is_latents = (path / INDEX).is_file() or (path / PLAN).is_file()
    kind = "emoji" if is_atlas(path) else "latents" if is_latents else "folder"
    options.check_kind(path, kind)
    if kind == "latents":
        latents = LatentsSource(str(path), options.condition, flip=False).open()
        why = pipe.model.data_info.mismatch(latents.info)
        sizes = pipe.model.config
        wanted = (sizes.in_channels, *sizes.image_size)
        if latents.shape != wanted:
            why = f"shapes {latents.shape}, not {wanted}"
        if why:
            raise UserError(f"{path} holds {why}: give latents that {pipe.name} was trained on")
        return kind, latents
    if height != width or channels not in (1, 3):
        raise UserError(
            f"{pipe.name} makes images of {channels}×{height}×{width}: images are read as squares, "
            "grey or in colour, so choose such a model"
        )
    if kind == "folder":
        folder = FolderSource(
            str(path),
            size=height,
            channels=1 if channels == 1 else 3,
            condition=options.condition,
            fit=options.fit,
            flip=False,
            depth=options.depth,
        )
        return kind, folder.open()
    if channels != 3:
        raise UserError(f"{path} holds emoji in colour, {pipe.name} makes grey images")
    if _takes_texts(pipe):
        return kind, EmojiTextSource(str(path), height).open()
    return kind, EmojiSource(str(path), height).open()


def _takes_texts(pipe: Pipeline) -> bool:
    return pipe.condition_kind.keyword == "prompt"


def _class_numbers(data: TrainingData, pipe: Pipeline, path: Path) -> Int64[Tensor, " K"]:
    """The model's number of each class of the data. Raises UserError for a class it has not."""
    own, known = data.info.class_names, pipe.class_names
    if not own or not known:
        if data.num_classes != pipe.model.config.num_classes:
            raise UserError(
                f"{path} has {data.num_classes} classes, {pipe.name} "
                f"{pipe.model.config.num_classes} without names: give as many, or choose "
                "--data.condition none"
            )
        return torch.arange(data.num_classes)
    for name in own:
        if name not in known:
            raise unknown_name(f"class of {path}", name, known)
    return torch.tensor([known.index(name) for name in own])
