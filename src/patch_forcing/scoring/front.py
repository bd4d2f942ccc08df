"""Quality against cost: several samplers at several budgets, of one model, on the same seeds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch

from patch_forcing.core.errors import UserError
from patch_forcing.core.random import CountedGenerator
from patch_forcing.features.emoji import EmojiFeatures
from patch_forcing.generation.conditions import Conditions
from patch_forcing.generation.pipeline import Pipeline
from patch_forcing.generation.request import SampleRequest
from patch_forcing.generation.result import PipelineResult
from patch_forcing.sampling.samplers import BudgetError
from patch_forcing.scoring.measuring import Side, measure_vectors

REFERENCE = "adams-bashforth"
"""Second order; with so many more evaluations, what the model's flow leads to."""
FINER = 4


@dataclass(frozen=True)
class Question:
    """What every sampler is compared at.

    nfe: budgets, guidance counted. count: images; image i has seed i. request: how to sample,
    besides the sampler and its budget. features: measure the Fréchet distance and accuracy too, of
    an emoji model.
    """

    nfe: tuple[float, ...]
    count: int
    request: SampleRequest = field(default_factory=SampleRequest)
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
    conditions, seeds = conditions_for(pipe, question), range(question.count)

    def sample(sampler: str, nfe: float) -> PipelineResult:
        sampling = pipe.resolve(replace(question.request, sampler=sampler, nfe=nfe))
        return pipe.sample(sampling, conditions, seeds, batch_size=question.batch_size)

    sample("euler", 2)  # what is compiled or allocated once counts for none of them
    reference = sample(REFERENCE, FINER * max(question.nfe)).pixels.float()
    for sampler in samplers:
        for budget in question.nfe:
            try:
                result = sample(sampler, budget)
            except BudgetError:
                continue
            error = float((result.pixels.float() - reference).square().mean().sqrt())
            point = Point(sampler, budget, result.nfe, result.seconds, error, result.sampler)
            yield point if question.features is None else _read(point, result, question.features)


def conditions_for(pipe: Pipeline, question: Question) -> Conditions:
    """One for each image: classes as often as real scenes have them, or all conditions in turn."""
    if question.features is not None:
        if pipe.model.data_info.class_names != question.features.class_names:
            raise UserError(f"{pipe.name} is no model of emoji scenes: leave --features out")
        labels = scene_labels(question.features, range(question.count))
        return pipe.condition_kind.choose(labels)
    return pipe.condition_kind.in_turn(question.count)


def scene_labels(features: EmojiFeatures, seeds: Sequence[int]) -> list[int]:
    """The class of each seed's scene, of as many as real scenes have."""
    real = features.classes.cpu()
    draws = CountedGenerator(seeds).fork("label").uniform()
    labels: list[int] = real[(draws * len(real)).long()].tolist()
    return labels


def _read(point: Point, result: PipelineResult, features: EmojiFeatures) -> Point:
    """The point with what the features see in its images."""
    seen = features.read(result.pixels)
    right = seen.classes == torch.tensor(result.labels, device=seen.classes.device)
    real = Side(statistics=features.reference.to("cpu"))
    fd = measure_vectors(features, seen.features, real, "fd")["fd"].value
    return replace(point, fd=fd, accuracy=float(right.float().mean()))
