"""What the emoji benchmark measures of one model: its samples, and its predicted difficulty."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.common.difficulty import difficulty_row
from benchmarks.common.record import Row
from benchmarks.common.tasks import Sampling
from patch_forcing.core.errors import UserError
from patch_forcing.core.registry import build
from patch_forcing.data.atlas import load_atlas
from patch_forcing.data.emoji import EmojiScenes
from patch_forcing.features.emoji import EmojiFeatures
from patch_forcing.generation.condition_kinds import condition_kind
from patch_forcing.generation.generate import generate
from patch_forcing.generation.pixels import to_uint8
from patch_forcing.generation.request import SampleRequest
from patch_forcing.models.dit import PatchDiT
from patch_forcing.sampling.samplers import SAMPLERS
from patch_forcing.scoring.measuring import Side, measure_vectors

HELD_OUT = 1004
"""Seed of the real scenes that samples are compared with; no model or network learnt from it."""


@dataclass(frozen=True)
class Real:
    """Real scenes that samples are held against, and the labels that are asked for.

    side: their features, and the moments of more scenes, which come with the network. floor: their
    own distance from these.
    """

    labels: Tensor
    side: Side
    floor: float


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
    vectors, place = torch.cat(seen), _wide(device)
    side = Side(vectors.to(place), features.reference.to(place))
    floor = measure_vectors(features, vectors.to(place), side, "fd")["fd"].value
    return Real(torch.cat(labels), side, floor)


def _wide(device: str) -> str:
    """Where there is fp64."""
    return "cpu" if device.startswith("mps") else device


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
    measured = measure_vectors(
        features, read.features.to(_wide(device)), real.side, "fd", "precision", "recall"
    )
    return {
        "kind": "samples",
        "sampling": asdict(sampling),
        "nfe": sum(batch.nfe * len(batch.seeds) for batch in batches) / count,
        **{metric: estimate.value for metric, estimate in measured.items()},
        "accuracy": float(right.mean()),
        "class_accuracy": sum(per_class) / len(per_class),
        "samples": count,
        "seconds": round(seconds, 2),
    }


def measure_difficulty(model: PatchDiT, data: EmojiScenes, count: int, device: str) -> Row:
    """Predicted difficulty against the squared error it should be, on held-out scenes."""
    x_1, emoji = data.scenes(HELD_OUT, torch.arange(count), device)
    labels = data.atlas.labels.to(device)[emoji]
    row = difficulty_row(model, x_1, labels, HELD_OUT, device)
    return {"kind": row["kind"], "scenes": row.pop("images"), **row}
