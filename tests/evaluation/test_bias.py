"""How much of a distance between few images is bias: of Gaussians, in closed form."""

import numpy as np
import pytest
import torch

from patch_forcing.evaluation.bias import frechet_bias
from patch_forcing.evaluation.frechet import FrechetDistance
from patch_forcing.features.statistics import FeatureStatistics

WIDTH = 8


def draws(seed: int, count: int, width: int = WIDTH) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("apart", [0.0, 0.5])
@pytest.mark.parametrize("known", [True, False])
def test_the_bias_of_few_images_is_what_halves_have_more(apart, known):
    """Images of a known distance, 9 times as many as features, against moments or as many others.

    Of Gaussians with unit covariance: F·(1/n + (F + 1)/(4·(n − 1))) of each set that is drawn.
    """
    count = 72
    moments = FeatureStatistics(torch.zeros(WIDTH).double(), torch.eye(WIDTH).double(), 0)
    values, biases = [], []
    for seed in range(60):
        sampled = draws(2 * seed, count) + apart
        real = moments if known else draws(2 * seed + 1, count)
        side = real if known else FeatureStatistics.of(real)
        values.append(FrechetDistance(side).value(sampled) - WIDTH * apart**2)
        biases.append(frechet_bias(sampled, real))
    bias, estimate = np.mean(values), np.mean(biases)
    sets = 1 if known else 2
    theory = sets * WIDTH * (1 / count + (WIDTH + 1) / (4 * (count - 1)))
    assert bias == pytest.approx(theory, rel=0.3)
    assert estimate == pytest.approx(theory, rel=0.3)


def test_with_fewer_images_than_features_halves_tell_a_part_of_the_bias():
    moments = FeatureStatistics(torch.zeros(64).double(), torch.eye(64).double(), 0)
    sampled = draws(0, 16, 64)
    value = FrechetDistance(moments).value(sampled)  # of a distance of 0
    assert value == pytest.approx(FrechetDistance(moments)(sampled).value)
    assert 0.1 * value < frechet_bias(sampled, moments) < value
