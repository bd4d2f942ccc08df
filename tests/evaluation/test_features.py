"""Any feature network gives what metrics compare."""

import pytest
import torch
from torch import nn

from patch_forcing.evaluation.features import image_features
from patch_forcing.evaluation.frechet import frechet_distance
from patch_forcing.features.find import find_encoder
from patch_forcing.features.module_encoder import ModuleEncoder
from patch_forcing.features.network import FeatureNetwork
from patch_forcing.features.statistics import FeatureStatistics
from tests.support.feature_networks import MeanColour

IMAGES = torch.randint(0, 256, (40, 3, 32, 24), dtype=torch.uint8)


NETWORKS = {
    "emoji": lambda: find_encoder("emoji"),
    "module": lambda: ModuleEncoder(nn.Conv2d(3, 6, 4, stride=4), "conv", size=(16, 16)),
    "vector": MeanColour,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_distance_can_be_measured_by_every_kind_of_network(name):
    network = NETWORKS[name]()
    assert isinstance(network, FeatureNetwork)
    vectors = image_features(network, IMAGES)
    assert (len(vectors), vectors.dtype, vectors.requires_grad) == (40, torch.float32, False)
    torch.testing.assert_close(image_features(network, IMAGES, batch_size=7), vectors)
    statistics = FeatureStatistics.of(vectors)
    assert frechet_distance(statistics, statistics) == pytest.approx(0, abs=1e-3)
    darker = FeatureStatistics.of(image_features(network, IMAGES // 2))
    assert frechet_distance(statistics, darker) > 0.01


def test_vectors_of_the_emoji_network_are_those_that_it_reads():
    network = find_encoder("emoji")
    assert image_features(network, IMAGES).equal(network.read(IMAGES).features)
