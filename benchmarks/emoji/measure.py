"""What the emoji benchmark measures of one model: its samples, and its predicted difficulty."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.common.record import Row
from patch_forcing.core.calibration import network_errors, rank_correlation, rank_correlations
from patch_forcing.core.difficulty import easy_set
from patch_forcing.core.errors import UserError
from patch_forcing.core.patch_grid import patch_grid
from patch_forcing.core.random import CountedGenerator
from patch_forcing.core.registry import build
from patch_forcing.core.time import PatchTime
from patch_forcing.data.atlas import load_atlas
from patch_forcing.data.emoji import EmojiScenes
from patch_forcing.evaluation.frechet import frechet_distance
from patch_forcing.evaluation.neighbours import precision_recall
from patch_forcing.features.emoji import EmojiFeatures
from patch_forcing.features.statistics import FeatureStatistics
from patch_forcing.generation.condition_kinds import condition_kind
from patch_forcing.generation.generate import generate
from patch_forcing.generation.pixels import to_uint8
from patch_forcing.generation.request import SampleRequest
from patch_forcing.models.dit import PatchDiT
from patch_forcing.sampling.guidance import Interval
from patch_forcing.sampling.samplers import SAMPLERS

HELD_OUT = 1004
"""Seed of the real scenes that samples are compared with; no model or network learnt from it."""
TIMES = tuple(round(0.1 * k, 1) for k in range(1, 10))
RATIOS = (1.0, 1.2, 1.4, 1.7, 2.0, 2.5, 3.0)


@dataclass(frozen=True)
class Sampling:
    """One set of samples: a sampler as the registry writes it, a budget, guidance, a grid."""

    sampler: str
    nfe: float
    guidance: float = 1.0
    interval: Interval | None = None
    grid: str = "uniform"


@dataclass(frozen=True)
class Real:
    """Real scenes that samples are held against, and the labels that are asked for."""

    labels: Tensor
    features: Tensor
    statistics: FeatureStatistics


def check_atlas(folder: Path, features: EmojiFeatures) -> None:
    """Raises UserError if the features were trained on other drawings than the folder's."""
    atlas = load_atlas(folder).identity
    if atlas != features.atlas:
        raise UserError(
            f"{folder} is atlas {atlas}, the features are of {features.atlas}: "
            "train them on this atlas with benchmarks/emoji/features.py"
        )


def real_scenes(data: EmojiScenes, features: EmojiFeatures, count: int, device: str) -> Real:
    """Held-out scenes, as many as samples: precision and recall need equal counts."""
    seen, labels = [], []
    for start in range(0, count, 1000):
        x, emoji = data.scenes(HELD_OUT, torch.arange(start, min(start + 1000, count)), device)
        seen.append(features.read(to_uint8(x, data.info)).features)
        labels.append(data.atlas.labels[emoji.cpu()])
    numbers = torch.cat(seen)
    return Real(torch.cat(labels), numbers, FeatureStatistics.of(numbers))


def measure(
    model: PatchDiT,
    sampling: Sampling,
    features: EmojiFeatures,
    real: Real,
    device: str,
    decode: Callable[[Tensor], Tensor] | None = None,
) -> Row:
    """Sample as many images as there are real scenes, with their labels, and measure them.

    decode: samples → images, for a model of latents.
    """
    request = SampleRequest(
        sampler=build("sampler", SAMPLERS, sampling.sampler),  # its own settings at every budget
        nfe=sampling.nfe,
        time_grid=sampling.grid,
        guidance_scale=sampling.guidance,
        guidance_interval=None if sampling.guidance == 1 else sampling.interval,
    )
    resolved = request.resolve(model)
    conditions = condition_kind(model).choose(real.labels.tolist())
    count = len(real.labels)
    started = time.perf_counter()
    casts = device != "cpu" and next(model.parameters()).dtype == torch.float32
    with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=casts):
        batches = list(
            generate(
                model,
                resolved,
                range(count),
                conditions,
                batch_size=min(64 if device == "cpu" else 2500, count),
                decode=decode,
            )
        )
    seconds = time.perf_counter() - started
    read = features.read(torch.cat([batch.images for batch in batches]))
    right = (read.classes == real.labels).float()
    per_class = [float(right[real.labels == label].mean()) for label in real.labels.unique()]
    near = precision_recall(real.features.to(device), read.features.to(device))
    return {
        "kind": "samples",
        "sampling": asdict(sampling),
        "nfe": sum(batch.nfe * len(batch.seeds) for batch in batches) / count,
        "fd": frechet_distance(FeatureStatistics.of(read.features), features.reference),
        "precision": near.precision,
        "recall": near.recall,
        "accuracy": float(right.mean()),
        "class_accuracy": sum(per_class) / len(per_class),
        "samples": count,
        "seconds": round(seconds, 2),
    }


@torch.no_grad()
def measure_difficulty(model: PatchDiT, data: EmojiScenes, count: int, device: str) -> Row:
    """Predicted difficulty against the squared error it should be, on held-out scenes.

    Per time: rank correlation over all patches, and within images; predicted and true means in ten
    bins of equal count. Then hard patches at that time with the easy 40 % ahead, as context.
    """
    patches = patch_grid(data.shape[1:], model.patch_size)
    tokens = patches[0] * patches[1]
    x_1, emoji = data.scenes(HELD_OUT, torch.arange(count), device)
    labels = data.atlas.labels.to(device)[emoji]
    noise = CountedGenerator(HELD_OUT, torch.arange(count), device=device).fork("difficulty")
    x_0 = noise.normal(*data.shape)

    def look(time: PatchTime) -> tuple[Tensor, Tensor]:
        """Predicted and true squared error of every patch, (count, N)."""
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=device != "cpu"):
            errors = network_errors(model, x_1, x_0, time, labels)
        return errors.variance, errors.error

    by_time, by_context = [], []
    for t in TIMES:
        times = torch.full((count,), t, device=device)
        predicted, true = look(PatchTime.shared(times, tokens))
        order = predicted.flatten().argsort()
        bins = [part for part in order.chunk(10) if len(part)]
        by_time.append(
            {
                "t": t,
                "rank_correlation": rank_correlation(predicted.flatten(), true.flatten()),
                "within_images": float(rank_correlations(predicted, true).nanmean()),
                "predicted": [float(predicted.flatten()[part].mean()) for part in bins],
                "true": [float(true.flatten()[part].mean()) for part in bins],
            }
        )
        easy = easy_set(predicted, 0.4)
        for ratio in RATIOS:
            ahead = min(1.0, ratio * t)
            predicted_r, true_r = look(PatchTime.two_level(easy, ahead, t))
            by_context.append(
                {
                    "t": t,
                    "ratio": ratio,
                    "predicted": float(predicted_r[~easy].mean()),
                    "true": float(true_r[~easy].mean()),
                }
            )
    return {"kind": "difficulty", "scenes": count, "by_time": by_time, "by_context": by_context}
