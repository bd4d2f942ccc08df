"""What samples are held against: images, or statistics of features that somebody computed."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from patch_forcing.core.errors import UserError
from patch_forcing.features.emoji import load_emoji_features
from patch_forcing.features.names import INCEPTION
from patch_forcing.features.network import FeatureNetwork
from patch_forcing.features.statistics import FeatureStatistics
from patch_forcing.io.arrays import array_names, read_array
from patch_forcing.io.atomic import atomic_file
from patch_forcing.io.run_layout import is_run_folder
from patch_forcing.scoring.array_images import ArrayImages
from patch_forcing.scoring.data_sets import data_set
from patch_forcing.scoring.folder_images import FolderImages, LayoutImages
from patch_forcing.scoring.images import ImageSet, Size
from patch_forcing.scoring.places import check_reference, check_train, names_data_set
from patch_forcing.scoring.run_data import run_layouts


@dataclass(frozen=True)
class StoredStatistics:
    """Moments of features in a file.

    features: the network's name, with the hash of its weights; None: the file does not say it.
    hash: of the numbers. places: moments of what keeps its place, as ADM's files have them.
    """

    statistics: FeatureStatistics
    features: str | None
    hash: str
    places: FeatureStatistics | None = None

    def fits(self, network: FeatureNetwork) -> bool:
        """Whether they are of that network; files without a name are Inception's."""
        if self.features is not None:
            return self.features == network.name
        return network.name.partition(" ")[0] == INCEPTION


@dataclass(frozen=True)
class Reference:
    """Images, statistics, or both, as ADM's batches have them."""

    name: str
    images: ImageSet | None = None
    stored: StoredStatistics | None = None
    paths: Sequence[Path] = field(default_factory=tuple)


def find_reference(name: str, size: Size | None) -> Reference:
    """What a user names: a folder, a run, an .npz of images or statistics, shards, a data set, or
    emoji. Of a run, the images that it held out.

    size: height and width of the samples, to which images of a folder are cut and scaled.
    Raises UserError if it is none of these, or an array of another size.
    """
    check_reference(name)
    path = Path(name)
    if names_data_set(name):
        return Reference(name, data_set(name, size))
    if is_run_folder(path):
        return Reference(name, LayoutImages(run_layouts(path).held_out, name, size))
    if path.is_dir():
        return Reference(name, FolderImages(path, size))
    if path.suffix != ".npz":
        features = load_emoji_features()
        own = StoredStatistics(features.reference, features.name, _digest(features.reference))
        return Reference(name, stored=own)
    names = array_names(path)
    stored = read_statistics(path) if {"mu", "sigma"} <= names else None
    images = ArrayImages(path) if "arr_0" in names else None
    if images is not None and size is not None and images.size != size:
        raise UserError(
            f"--reference {name} has images of {images.size[1]}×{images.size[0]} pixels, the "
            f"samples {size[1]}×{size[0]}: bring them to one size"
        )
    return Reference(name, images, stored, (path,))


def training_images(path: Path, size: Size | None) -> LayoutImages:
    """Those of a folder, or of a run those that it did not hold out.

    Raises UserError as `check_train` does, and if there are none.
    """
    check_train(path)
    if is_run_folder(path):
        return LayoutImages(run_layouts(path).trained, str(path), size)
    return FolderImages(path, size)


def read_statistics(path: Path) -> StoredStatistics:
    """The moments mu and sigma, as ADM, pytorch-fid and `write_statistics` write them.

    Raises UserError if they are damaged, not finite or do not belong together.
    """
    names = array_names(path)
    main = _moments(path, "mu", "sigma", _text(path, "count", names))
    places = _moments(path, "mu_s", "sigma_s", None) if {"mu_s", "sigma_s"} <= names else None
    return StoredStatistics(main, _text(path, "features", names), _digest(main), places)


def write_statistics(path: Path, statistics: FeatureStatistics, features: str) -> None:
    """Writes them, with the network's name. The file is complete, or what it was before."""
    with atomic_file(path) as aside, aside.open("wb") as stream:
        np.savez(
            stream,
            mu=statistics.mean.cpu().numpy(),
            sigma=statistics.covariance.cpu().numpy(),
            features=np.array(features),
            count=np.array(str(statistics.count)),
        )


def _moments(path: Path, mean: str, covariance: str, count: str | None) -> FeatureStatistics:
    mu, sigma = read_array(path, mean), read_array(path, covariance)
    if (
        mu.ndim != 1
        or sigma.shape != (len(mu), len(mu))
        or "O" in (mu.dtype.kind, sigma.dtype.kind)
    ):
        raise UserError(
            f"{path}: {mean} {mu.shape} and {covariance} {sigma.shape} are no mean and covariance: "
            "give (F,) and (F, F)"
        )
    wide = [torch.from_numpy(np.array(part, np.float64)) for part in (mu, sigma)]
    if not all(part.isfinite().all() for part in wide):
        raise UserError(f"{path}: {mean} or {covariance} holds NaN or infinity: compute it again")
    if not torch.allclose(wide[1], wide[1].mT, rtol=1e-4, atol=1e-6 * float(wide[1].abs().max())):
        raise UserError(f"{path}: {covariance} is not symmetric, so no covariance: name another")
    return FeatureStatistics(wide[0], wide[1], int(count) if count and count.isdigit() else 0)


def _text(path: Path, name: str, names: set[str]) -> str | None:
    return str(read_array(path, name)) if name in names else None


def _digest(statistics: FeatureStatistics) -> str:
    parts = (statistics.mean, statistics.covariance)
    return hashlib.sha256(b"".join(p.cpu().numpy().tobytes() for p in parts)).hexdigest()[:16]
