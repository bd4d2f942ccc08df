"""What the benchmark of natural images measures of one model: samples, and predicted difficulty."""

import time
from dataclasses import asdict, dataclass, field

import torch
from jaxtyping import UInt8
from torch import Tensor

from benchmarks.common.difficulty import difficulty_row
from benchmarks.common.record import Row
from benchmarks.common.tasks import Sampling
from benchmarks.natural.real import Judge, RealImages
from patch_forcing.core.registry import build
from patch_forcing.generation.condition_kinds import condition_kind
from patch_forcing.generation.generate import generate
from patch_forcing.generation.pipeline import Pipeline
from patch_forcing.generation.request import SampleRequest
from patch_forcing.sampling.samplers import SAMPLERS

DEFAULT = "default"
"""The sampler of who gives no options, on the grid of a model that brings none."""
AT_ONCE = {"cpu": 64, "cuda": 1024}
EXACT_STEPS = 384
NOISE = 4004
"""Seed of the noise by which difficulty is measured."""
ExactFlow = dict[tuple[float, object], UInt8[Tensor, "F 3 S S"]]


@dataclass(frozen=True)
class Measuring:
    """A model's samples under a pipeline, held against real images.

    count: samples, whose labels take turns. exact: of so many, a batch, the end of the flow in many
    small steps, once for each guidance.
    """

    pipe: Pipeline
    judges: list[Judge]
    count: int
    device: str
    exact: int = 1024
    flows: ExactFlow = field(default_factory=dict, repr=False)

    def __call__(self, sampling: Sampling) -> Row:
        """One row."""
        started = time.perf_counter()
        pixels, nfe = self.sampled(_request(sampling), self.count)
        seconds = time.perf_counter() - started
        flow = self._flow(sampling)
        difference = pixels[: len(flow)].float() - flow.float()
        return {
            "kind": "samples",
            "sampling": asdict(sampling),
            "nfe": nfe,
            "samples": self.count,
            "seconds": round(seconds, 2),
            "measures": [judge.measure(pixels, self.labels(self.count)) for judge in self.judges],
            "from_flow": float(difference.square().mean().sqrt()),
        }

    def labels(self, count: int) -> Tensor:
        """Of the first seeds: each class in turn."""
        return torch.arange(count) % self.pipe.model.config.num_classes

    def sampled(self, request: SampleRequest, count: int) -> tuple[UInt8[Tensor, "M 3 S S"], float]:
        """Images of the first seeds, and evaluations an image."""
        pipe, labels = self.pipe, self.labels(count).tolist()
        batches = list(
            generate(
                pipe.model,
                pipe.resolve(request),
                range(count),
                condition_kind(pipe.model).choose(labels),
                batch_size=min(AT_ONCE[torch.device(self.device).type], self.count),
                decode=pipe.decode,
            )
        )
        nfe = sum(batch.nfe * len(batch.seeds) for batch in batches) / count
        return torch.cat([batch.images for batch in batches]), nfe

    def _flow(self, sampling: Sampling) -> UInt8[Tensor, "F 3 S S"]:
        key = (sampling.guidance, sampling.interval)
        if key not in self.flows:
            steps = EXACT_STEPS if self.device != "cpu" else 8
            exact = SampleRequest(
                sampler="adams-bashforth", num_steps=steps, time_grid="uniform", **_guided(sampling)
            )
            self.flows[key] = self.sampled(exact, min(self.exact, self.count))[0]
        return self.flows[key]

    def difficulty(self, held_out: RealImages, count: int) -> Row:
        """Of so many held-out images."""
        part = held_out.spread(count)
        x_1 = torch.cat([self.pipe.encode(images) for images in part.pixels.split(100)])
        labels = part.labels.to(self.device)
        return difficulty_row(self.pipe.model, x_1.float(), labels, NOISE, self.device)


def _guided(sampling: Sampling) -> Row:
    if sampling.guidance == 1:
        return {}
    return {"guidance_scale": sampling.guidance, "guidance_interval": sampling.interval}


def _request(sampling: Sampling) -> SampleRequest:
    if sampling.sampler == DEFAULT:
        return SampleRequest(time_grid="uniform")
    return SampleRequest(
        sampler=build("sampler", SAMPLERS, sampling.sampler),  # its own settings at every budget
        nfe=sampling.nfe,
        time_grid=sampling.grid,
        **_guided(sampling),
    )
