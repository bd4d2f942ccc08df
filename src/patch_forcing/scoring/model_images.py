"""A model's images, made when they are looked at, and never written."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.generation.conditions import Conditions
from patch_forcing.generation.pipeline import Pipeline
from patch_forcing.generation.request import Sampling
from patch_forcing.generation.sample_shards import SampleTask
from patch_forcing.generation.sizes import num_patches

SHARD = 256
"""Images that are looked at, and kept with --work, at once."""


class ModelImages:
    """The image of each seed, under its condition. Which batches they are made in is fixed."""

    labels: tuple[str, ...] | None
    prompts: tuple[str, ...] | None

    def __init__(
        self,
        pipe: Pipeline,
        sampling: Sampling,
        conditions: Conditions,
        seeds: Sequence[int],
        batch_size: int = 64,
    ):
        """conditions: one for all, or one for each seed. Raises UserError for a grey model."""
        channels, *own = pipe.image_shape
        height, width = sampling.request.size or own
        if channels != 3:
            raise UserError(
                f"{pipe.name} makes images of {channels} channel: feature networks see colour, so "
                "measure a model of RGB images"
            )
        self.name, self.count, self.size = pipe.name, len(seeds), (height, width)
        self.seeds, self._batch_size = tuple(seeds), batch_size
        shown = conditions.for_seeds(seeds)
        self._task = SampleTask(pipe, sampling, shown, list(seeds), SHARD)
        self._nfe: dict[int, float] = {}
        self.labels, self.prompts = None, None
        texts = [shown.record(number).get("prompt") for number in range(len(shown))]
        if all(isinstance(text, str) for text in texts):
            self.prompts = tuple(map(str, texts))
        if (numbers := shown.labels) is not None:
            names = pipe.class_names
            self.labels = tuple(names[label] if names else str(label) for label in numbers)

    def batch(self, places: slice) -> UInt8[Tensor, "B 3 H W"]:
        """Sampled now."""
        result = self._task.sample(places, batch_size=self._batch_size)
        numbers = range(self.count)[places]
        self._nfe.update(zip(numbers, result.image_nfe, strict=True))
        return result.pixels

    def evaluations(self, places: slice) -> list[float] | None:
        """Of images that were sampled; guidance counted."""
        return [self._nfe[number] for number in range(self.count)[places]]

    def recipe(self) -> dict[str, Any]:
        """The model and how it was sampled."""
        pipe = self._task.pipe
        space = None if pipe.autoencoder is None else pipe.autoencoder.space
        return {
            "kind": "model",
            "name": pipe.name,
            "model": pipe.name,
            "model_hash": pipe.hash,
            "precision": pipe.precision,
            "autoencoder_hash": None if space is None else space.hash,
            "num_patches": num_patches(pipe.model.config, self._task.sampling.cells),
            "sampling": self._task.sampling.record(),
            "tuned_on": tuned_on(pipe, self._task.sampling),
        }

    def plan(self) -> dict[str, Any]:
        """As an array of images has it."""
        return self._task.plan() | {"batch_size": self._batch_size}


def tuned_on(pipe: Pipeline, sampling: Sampling) -> dict[str, str] | None:
    """What the settings of this sampling were chosen by, so far as the model's folder says it.

    A metric that chose a setting flatters it.
    """
    info, request = pipe.model.sampling_info, sampling.request
    known, advice = dict(info.tuned_on), info.recommended
    used = {
        "grid": bool(info.time_quantiles) and request.time_grid in (None, "fitted"),
        "guidance": request.guidance_scale == advice.guidance_scale != 1
        and request.kind_of_guidance == advice.guidance_kind,
    }
    return {name: text for name, text in known.items() if used.get(name, True)} or None


def label_plan(labels: Sequence[str], seeds: Sequence[int]) -> list[str]:
    """Labels or prompts for seeds, as often as a reference has them: its own if as many."""
    picks = torch.arange(len(seeds)) * len(labels) // len(seeds)
    return [labels[pick] for pick in picks.tolist()]
