"""Folders of latents, written as `patch-forcing encode` does."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from patch_forcing.data.latent_shards import FORMAT_VERSION, INDEX, ShardArrays, write_shard
from patch_forcing.io.ledger import shard_path
from patch_forcing.models.latent_space import LatentSpace

SPACE = LatentSpace("x", "X", "abc", 2, 8, (0.5,), (1.0,))
SIZES = (5, 1, 6)
SHAPE = (2, 2, 3)


def write_latents(
    folder: Path, shards: Sequence[ShardArrays], space: LatentSpace = SPACE, **index: Any
) -> Path:
    """All shards and latents.json. index: fields that do not follow from the shards."""
    for number, shard in enumerate(shards):
        write_shard(shard_path(folder, number), shard, {})
    first = shards[0]
    rows, height, width = first.latents.shape[1:]
    record = {
        "format_version": FORMAT_VERSION, "size": space.factor * height,
        "shape": (space.channels, height, width), "logvar": rows > space.channels,
        "autoencoder": vars(space), "mirrored": first.mirrored is not None,
        "images": sum(len(shard.latents) for shard in shards), "bad_samples": 0,
        "class_names": (), "shards": len(shards), "hash": "h", "statistics": {},
    }  # fmt: skip
    (folder / INDEX).write_text(json.dumps(record | index))
    return folder


def telling_latents(
    folder: Path,
    *,
    logvar: bool = True,
    mirrored: bool = True,
    spread: float = -30.0,
    classes: Sequence[str] = ("a", "b", "c"),
) -> Path:
    """Latents that tell where they come from: number, channel, and + 100 where mirrored."""
    shards, first = [], 0
    for size in SIZES:
        numbers = np.arange(first, first + size)
        means = np.broadcast_to(numbers[:, None, None, None], (size, *SHAPE)).copy()
        means[:, 1] += 50
        parts = [means, np.full_like(means, 1) * spread] if logvar else [means]
        rows = np.concatenate(parts, axis=1).astype(np.float16)
        copy = np.concatenate([means + 100, *parts[1:]], axis=1).astype(np.float16)
        labels = numbers % 3 if classes else None
        shards.append(ShardArrays(rows, copy if mirrored else None, labels, numbers))
        first += size
    return write_latents(folder, shards, class_names=tuple(classes))
