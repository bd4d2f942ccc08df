"""Quality against cost: several samplers at several budgets, of one model, on the same seeds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.core.random import CountedGenerator
from patch_forcing.evaluation.metrics import frechet_distance
from patch_forcing.features.emoji import EmojiFeatures
from patch_forcing.features.statistics import FeatureStatistics
from patch_forcing.generation.pipeline import Pipeline, PipelineResult
from patch_forcing.sampling.guidance import Interval
from patch_forcing.sampling.samplers import BudgetError

REFERENCE = "adams-bashforth"
"""Second order; with so many more evaluations, what the model's flow leads to."""
FINER = 4


@dataclass(frozen=True)
class Question:
    """What is asked of every sampler.

    count: images; image i has seed i. nfe: budgets, guidance counted. time_grid: as a pipeline
    takes it. features: measure the Fréchet distance and accuracy too, of an emoji model.
    """

    nfe: tuple[float, ...]
    count: int
    time_grid: str | None = None
    guidance_scale: float = 1.0
    guidance_interval: Interval | None = None
    batch_size: int = 64
    features: EmojiFeatures | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Point:
    """A sampler at a budget.

    nfe: evaluations an image that it took. seconds: of all images. error: RMS distance of pixels,
    0 to 255, to the same seeds' images in many more steps: small means that the integration adds
    nothing of its own. settings: those of the sampler at that budget. fd, accuracy: of an emoji
    model; fd falls with the number of images.
    """

    sampler: str
    budget: float
    nfe: float
    seconds: float
    error: float
    settings: str
    fd: float | None = None
    accuracy: float | None = None


def front(pipe: Pipeline, samplers: Sequence[str], question: Question) -> Iterator[Point]:
    """Every sampler at every budget that buys a step of it."""
    labels = labels_for(pipe, question)

    def sample(sampler: str, nfe: float) -> PipelineResult:
        return pipe(
            labels,
            range(question.count),
            sampler=sampler,
            nfe=nfe,
            time_grid=question.time_grid,
            guidance_scale=question.guidance_scale,
            guidance_interval=question.guidance_interval,
            batch_size=question.batch_size,
        )

    sample("euler", 2)  # what is compiled or allocated once counts for none of them
    reference = sample(REFERENCE, FINER * max(question.nfe)).pixels.float()
    for sampler in samplers:
        for budget in question.nfe:
            try:
                found = sample(sampler, budget)
            except BudgetError:
                continue
            off = float((found.pixels.float() - reference).square().mean().sqrt())
            point = Point(sampler, budget, found.nfe, found.seconds, off, found.sampler)
            bare = question.features is None
            yield point if bare else _read(point, found.pixels, labels, question)


def labels_for(pipe: Pipeline, question: Question) -> list[int] | None:
    """One for each image: as often as real scenes have them, or all classes in turn."""
    classes = pipe.model.config.num_classes
    if question.features is not None:
        if pipe.model.data_info.class_names != question.features.class_names:
            raise UserError(f"{pipe.name} is no model of emoji scenes: leave --features out")
        real = question.features.classes.cpu()
        draws = CountedGenerator(range(question.count)).fork("label").uniform()
        return real[(draws * len(real)).long()].tolist()
    return [i % classes for i in range(question.count)] if classes else None


def _read(point: Point, pixels: Tensor, labels: list[int] | None, question: Question) -> Point:
    assert question.features is not None
    seen = question.features.read(pixels)
    return replace(
        point,
        fd=frechet_distance(FeatureStatistics.of(seen.features), question.features.reference),
        accuracy=float((seen.classes == torch.tensor(labels)).float().mean()),
    )
