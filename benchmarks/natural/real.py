"""Real images in memory, and what feature networks make of them."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from benchmarks.common.record import Row
from benchmarks.natural.probe import Probe
from patch_forcing.core.errors import UserError
from patch_forcing.evaluation.features import image_features
from patch_forcing.features.network import FeatureNetwork
from patch_forcing.features.statistics import FeatureStatistics
from patch_forcing.io.atomic import atomic_file
from patch_forcing.scoring.folder_images import FolderImages
from patch_forcing.scoring.measuring import Side, measure_vectors

HELD_OUT, TRAIN = "held-out", "train"
_READ, _LOOKED = 1000, 500


@dataclass(frozen=True)
class RealImages:
    """Images of a folder of classes; labels count the classes in the order of their names."""

    pixels: UInt8[Tensor, "M 3 S S"]
    labels: Int64[Tensor, " M"]
    class_names: tuple[str, ...]

    @classmethod
    def of(cls, folder: Path, size: int, limit: int | None = None) -> "RealImages":
        """All of a folder, or so many evenly spread. Raises UserError for one without classes."""
        images = FolderImages(folder, (size, size))
        if images.labels is None:
            raise UserError(f"{folder} has no classes: give a folder for each class")
        parts = [slice(n, min(n + _READ, images.count)) for n in range(0, images.count, _READ)]
        pixels = torch.cat([images.batch(part) for part in parts])
        names = sorted(set(images.labels))
        labels = torch.tensor([names.index(label) for label in images.labels])
        whole = cls(pixels, labels, tuple(names))
        return whole if limit is None else whole.spread(limit)

    def spread(self, count: int) -> "RealImages":
        """So many, evenly spread over all."""
        picks = torch.arange(min(count, len(self.labels))) * len(self.labels)
        picks //= min(count, len(self.labels))
        return replace(self, pixels=self.pixels[picks], labels=self.labels[picks])


@dataclass(frozen=True)
class Judge:
    """A feature network with what it saw of real images.

    sides: the held-out images, and those of training, to which distances are taken. probe: names
    classes. about: how well, and how far both sets are apart.
    """

    network: FeatureNetwork
    sides: dict[str, Side]
    probe: Probe
    about: Row
    device: str

    @classmethod
    def of(
        cls,
        network: FeatureNetwork,
        train: RealImages,
        held_out: RealImages,
        device: str,
        work: Path,
    ) -> "Judge":
        """Look at both sets, unless `work` has what was seen before."""
        network = network.to(device)
        sets = {TRAIN: train.pixels, HELD_OUT: held_out.pixels}
        seen = {}
        for name, pixels in sets.items():
            file = work / f"{network.name.replace(' ', '-')}-{name}-{len(pixels)}.npy"
            if not file.exists():
                with atomic_file(file) as aside, aside.open("wb") as stream:
                    np.save(stream, look(network, pixels, device).cpu().numpy())
            seen[name] = torch.from_numpy(np.load(file)).to(device)
        sides = {name: Side(statistics=FeatureStatistics.of(part)) for name, part in seen.items()}
        labels = {TRAIN: train.labels.to(device), HELD_OUT: held_out.labels.to(device)}
        probe = Probe.fit(seen[TRAIN], labels[TRAIN], len(train.class_names))
        about = {
            "network": network.name,
            "accuracy": probe.accuracy(seen[HELD_OUT], labels[HELD_OUT]),
            "images": {name: len(part) for name, part in seen.items()},
            "floor": distance(network, seen[HELD_OUT], sides[TRAIN]),
        }
        return cls(network, sides, probe, about, device)

    def measure(self, pixels: UInt8[Tensor, "M 3 S S"], labels: Int64[Tensor, " M"]) -> Row:
        """Distances with intervals, and the share of images that show the class of their label."""
        seen = look(self.network, pixels, self.device)
        return {
            "network": self.network.name,
            "fd": {name: distance(self.network, seen, s) for name, s in self.sides.items()},
            "accuracy": self.probe.accuracy(seen, labels.to(self.device)),
        }


def look(
    network: FeatureNetwork, pixels: UInt8[Tensor, "M 3 S S"], device: str
) -> Float[Tensor, "M F"]:
    """Features, kept on the device."""
    return image_features(network, pixels, device, _LOOKED).to(device)


def distance(network: FeatureNetwork, seen: Float[Tensor, "M F"], real: Side) -> Row:
    """The Fréchet distance of features, as a row has it."""
    estimate = measure_vectors(network, seen, real, "fd")["fd"]
    low, high = estimate.interval
    return {"value": estimate.value, "low": low, "high": high}
