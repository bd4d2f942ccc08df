"""What measures images: bundled emoji features, or those of a network trained on photographs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from benchmarks.common.record import Row
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.sources import FolderSource
from patch_forcing.evaluation.frechet import FrechetDistance
from patch_forcing.features.classifiers import efficientnet_lite0
from patch_forcing.features.emoji import load_emoji_features
from patch_forcing.features.network import FeatureNetwork
from patch_forcing.features.statistics import FeatureStatistics

FEATURE_BATCH = 16
"""At once: what is fast on two cores."""


@dataclass(frozen=True)
class Judge:
    """What measures images. read: features → classes. real: facts of real images."""

    network: FeatureNetwork
    distance: FrechetDistance
    read: Callable[[Float[Tensor, "n F"]], Int64[Tensor, " n"]]
    real: Row


@torch.no_grad()
def features_of(
    network: FeatureNetwork, images: Float[Tensor, "n 3 H W"], batch_size: int = FEATURE_BATCH
) -> Float[Tensor, "n F"]:
    """On the CPU."""
    return torch.cat([network.features(part).cpu() for part in images.split(batch_size)]).float()


def emoji_judge(device: str) -> Judge:
    """The bundled feature network with its statistics of real scenes."""
    network = load_emoji_features(device=device)

    def read(vectors: Tensor) -> Tensor:
        drawings = network.probabilities(vectors.to(device)).argmax(1).cpu()
        return network.classes.cpu()[drawings]

    distance = FrechetDistance(network.reference)
    return Judge(network, distance, read, {"features": network.name})


def natural_judge(
    folder: Path, places: range, size: int, device: str, batch_size: int = FEATURE_BATCH
) -> Judge:
    """Real images as the network sees them: moments of their features, and what reads a class.

    places: of the images, in an order that is always the same.
    """
    network = efficientnet_lite0().to(device)
    images, labels = real_images(folder, places, size, device)
    vectors = features_of(network, images, batch_size)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    known = float(cross_val_score(classifier, vectors.numpy(), labels.numpy(), cv=3).mean())
    classifier.fit(vectors.numpy(), labels.numpy())
    real = {"features": network.name, "reference": len(places), "accuracy_on_real": known}
    return Judge(
        network,
        FrechetDistance(FeatureStatistics.of(vectors)),
        lambda features: torch.from_numpy(classifier.predict(features.numpy())),
        real,
    )


def real_images(
    folder: Path, places: range, size: int, device: str
) -> tuple[Float[Tensor, "n 3 H W"], Int64[Tensor, " n"]]:
    """Images of class folders in [−1, 1], and the numbers of their classes by name, on the CPU."""
    source = FolderSource(path=str(folder), size=size, channels=3, flip=False, held_out=0.0)
    batch = source.open().batch(BatchSpec(0, places.stop, 0, places), torch.device(device))
    assert batch.condition is not None
    return batch.x_1, batch.condition.cpu()
