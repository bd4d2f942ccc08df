"""Feature networks look at a set of images: shard by shard, on any number of ranks, resumable.

Shards and the batches in them are the same whoever computes them, and features are gathered in the
images' order. So a number does not depend on how many processes there were.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.distributed.ranks import ALONE, Ranks
from patch_forcing.evaluation.features import image_features
from patch_forcing.features.batches import float_batches
from patch_forcing.features.network import FeatureNetwork, PlaceNetwork
from patch_forcing.io.atomic import atomic_folder, write_manifest
from patch_forcing.io.ledger import Ledger, shard_path
from patch_forcing.scoring.images import ImageSet
from patch_forcing.scoring.model_images import SHARD

_BATCH = 64
"""Images that a network sees at once on a GPU, always as many."""
_PLAN, _ARRAYS = "features.plan.json", "features.npz"


@dataclass(frozen=True)
class Features:
    """What networks saw in a set of images.

    vectors, places: by the number of the network, (n, F) fp32. digests: (n, 32) uint8, SHA-256 of
    the pixels of each image. nfe: network evaluations of each image, if known. seconds: of images
    and of features, summed over ranks; of what was kept from before, none.
    """

    vectors: dict[int, Float[Tensor, "n F"]]
    places: dict[int, Float[Tensor, "n G"]]
    digests: UInt8[np.ndarray, "n 32"]
    nfe: tuple[float, ...] | None
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def hash(self) -> str:
        """Of all pixels, whatever the order of images: 16 digits of a SHA-256."""
        rows = sorted(row.tobytes() for row in self.digests)
        return hashlib.sha256(b"".join(rows)).hexdigest()[:16]


@dataclass(frozen=True)
class Looker:
    """How images are looked at. work: a folder that keeps the features of finished shards."""

    networks: Sequence[FeatureNetwork]
    device: torch.device | str = "cpu"
    ranks: Ranks = ALONE
    work: Path | None = None
    advance: Callable[[int], object] = int

    def look(self, images: ImageSet, name: str) -> Features:
        """At all of them; every rank gets all features. name: of the part of `work`.

        Raises UserError for bad images, and if `work` holds features of others.
        """
        shards = -(-images.count // SHARD)
        mine = range(self.ranks.rank, shards, self.ranks.world)
        with self.ranks.together():
            ledger = self._ledger(images, name)
            parts = {number: self._shard(images, number, ledger) for number in mine}
        gathered: dict[int, dict[str, np.ndarray]] = {}
        for part in self.ranks.gather(parts):
            gathered |= part
        return self._joined([gathered[number] for number in range(shards)])

    def _ledger(self, images: ImageSet, name: str) -> Ledger | None:
        if self.work is None:
            return None
        names = [network.name for network in self.networks]
        plan = {"images": images.plan(), "features": names, "shard_size": SHARD}
        ledger = Ledger(self.work / name, _PLAN, _plain(plan), f"features ({name})", "--work")
        ledger.check()
        ledger.begin()
        return ledger

    def _shard(self, images: ImageSet, number: int, ledger: Ledger | None) -> dict[str, np.ndarray]:
        """What is known of a shard: from before, or from now on."""
        places = slice(number * SHARD, min((number + 1) * SHARD, images.count))
        if ledger is None:
            arrays = self._seen(images, places)
        else:
            path = shard_path(ledger.folder, number)
            if ledger.missing(range(number, number + 1)):
                arrays = self._seen(images, places)
                with atomic_folder(path, replace=True) as folder:
                    np.savez(folder / _ARRAYS, **_lasting(arrays))
                    write_manifest(folder)
            else:
                with np.load(path / _ARRAYS, allow_pickle=False) as kept:
                    arrays = dict(kept)
        self.advance(places.stop - places.start)
        return arrays

    def _seen(self, images: ImageSet, places: slice) -> dict[str, np.ndarray]:
        """Vectors, digests and evaluations of some images, and the seconds that it took."""
        started = time.perf_counter()
        pixels = images.batch(places)
        made = time.perf_counter()
        arrays = {"digests": _digests(pixels)}
        for number, network in enumerate(self.networks):
            if isinstance(network, PlaceNetwork):
                seen = [
                    network.with_places(part) for part in float_batches(pixels, self.device, _BATCH)
                ]
                arrays[f"vectors.{number}"] = torch.cat([s.vectors for s in seen]).cpu().numpy()
                arrays[f"places.{number}"] = torch.cat([s.places for s in seen]).cpu().numpy()
            else:
                vectors = image_features(network, pixels, self.device, _BATCH)
                arrays[f"vectors.{number}"] = vectors.numpy()
            if not np.isfinite(arrays[f"vectors.{number}"]).all():
                raise UserError(
                    f"{network.name} gives features of {images.name} that are no number"
                )
        nfe = images.evaluations(places)
        if nfe is not None:
            arrays["nfe"] = np.array(nfe, np.float64)
        arrays["seconds"] = np.array([made - started, time.perf_counter() - made])
        return arrays

    def _joined(self, parts: Sequence[dict[str, np.ndarray]]) -> Features:
        def whole(name: str) -> np.ndarray:
            return np.concatenate([part[name] for part in parts])

        def by_network(kind: str) -> dict[int, Tensor]:
            names = {n: f"{kind}.{n}" for n in range(len(self.networks))}
            return {n: torch.from_numpy(whole(k)) for n, k in names.items() if k in parts[0]}

        nfe = whole("nfe").tolist() if all("nfe" in part for part in parts) else None
        spent = sum((part["seconds"] for part in parts if "seconds" in part), np.zeros(2))
        return Features(
            by_network("vectors"),
            by_network("places"),
            whole("digests"),
            None if nfe is None else tuple(nfe),
            {"images": round(float(spent[0]), 2), "features": round(float(spent[1]), 2)},
        )


def _digests(pixels: UInt8[Tensor, "B 3 H W"]) -> UInt8[np.ndarray, "B 32"]:
    rows = [hashlib.sha256(image.tobytes()).digest() for image in pixels.contiguous().numpy()]
    return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, 32)


def _lasting(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: array for name, array in arrays.items() if name != "seconds"}


def _plain(plan: dict[str, Any]) -> dict[str, Any]:
    """As JSON gives it back."""
    plain: dict[str, Any] = json.loads(json.dumps(plan))
    return plain
