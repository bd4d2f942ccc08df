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


@dataclass(frozen=True)
class Judge:
    """What measures images. read: features → classes. real: facts of real images."""

    network: FeatureNetwork
    distance: FrechetDistance
    read: Callable[[Float[Tensor, "n F"]], Int64[Tensor, " n"]]
    real: Row


def features_of(network: FeatureNetwork, images: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "n F"]:
    """On the CPU, few at once."""
    return torch.cat([network.features(part).cpu() for part in images.split(FEATURE_BATCH)]).float()


def emoji_judge(device: str) -> Judge:
    """The bundled feature network with its statistics of real scenes."""
    network = load_emoji_features(device=device)

    def read(vectors: Tensor) -> Tensor:
        drawings = network.probabilities(vectors.to(device)).argmax(1).cpu()
        return network.classes.cpu()[drawings]

    distance = FrechetDistance(network.reference)
    return Judge(network, distance, read, {"features": network.name})


def natural_judge(folder: Path, count: int, size: int, device: str) -> Judge:
    """Real images as the network sees them: moments of their features, and what reads a class."""
    network = efficientnet_lite0().to(device)
    source = FolderSource(path=str(folder), size=size, channels=3, flip=False, held_out=0.0)
    batch = source.open().batch(BatchSpec(0, count, 0), torch.device(device))
    assert batch.condition is not None
    vectors, labels = features_of(network, batch.x_1), batch.condition.cpu().numpy()
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    known = float(cross_val_score(classifier, vectors.numpy(), labels, cv=3).mean())
    classifier.fit(vectors.numpy(), labels)
    real = {"features": network.name, "reference": count, "accuracy_on_real": known}
    return Judge(
        network,
        FrechetDistance(FeatureStatistics.of(vectors)),
        lambda features: torch.from_numpy(classifier.predict(features.numpy())),
        real,
    )
