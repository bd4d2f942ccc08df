"""Mean-controlled times: every halving, and what holds of all cells."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats

import patch_forcing as pf
from patch_forcing.core.timesteps import MeanControlled, _symmetric_beta
from tests.support.laws import IMAGES, draw, p_value, z_of_mean


@pytest.mark.parametrize("a", [0.5, 0.5001, 0.75, 1, 2, 3.17, 50, 1500])
def test_the_beta_draw_has_the_law_of_a_symmetric_beta(a):
    uniform = torch.rand(50_000, 2, generator=torch.Generator().manual_seed(1))
    assert p_value(_symmetric_beta(a, uniform).double().numpy(), stats.beta(a, a).cdf) > 1e-3


def shares(cells, sharpness):
    """The Beta quantile of every halving, outermost first: uniform and independent if right."""
    n, total = len(cells), cells.sum(axis=0)
    if n == 1:
        return []
    few, many = n // 2, n - n // 2
    low, high = np.maximum(0, total - many), np.minimum(total, few)
    a = sharpness * (n - 1 - n % 2) ** 1.05
    share = (cells[:few].sum(axis=0) - low) / (high - low)
    quantile = stats.beta(a, a).cdf(share)
    return [quantile, *shares(cells[:few], sharpness), *shares(cells[few:], sharpness)]


@pytest.mark.parametrize("patches", [2, 3, 7, 64])
@pytest.mark.parametrize("sharpness", [0.5, 1, 4])
def test_every_halving_places_its_share_by_its_own_beta(patches, sharpness):
    random = torch.Generator().manual_seed(1)
    total = patches * torch.rand(5000, generator=random).double()
    draws = torch.rand(5000, patches - 1, 2, generator=random).double()
    cells = MeanControlled(sharpness)._split(total, patches, draws)
    quantiles = np.array(shares(np.stack(cells), sharpness))
    assert quantiles.shape == (patches - 1, 5000)
    for quantile in quantiles:
        assert p_value(quantile, "uniform") > 1e-4
        assert z_of_mean((quantile - 0.5) ** 2, 1 / 12) < 4.5
    r = np.atleast_2d(np.corrcoef(quantiles))[np.triu_indices(patches - 1, 1)]
    assert (np.abs(r) * math.sqrt(5000) < 4.5).all()


@pytest.mark.parametrize("patches", [1, 2, 3, 7, 33])
@pytest.mark.parametrize("sharpness", [0.5, 1, 10])
def test_the_mean_of_an_image_is_uniform_and_preserved(patches, sharpness):
    means = draw(MeanControlled(sharpness), 3000, patches).mean(axis=1)
    assert p_value(means, "uniform") > 1e-3
    # with one patch nothing is shared out, and the mean is drawn first
    np.testing.assert_allclose(means, draw(MeanControlled(), 3000, 1)[:, 0], atol=1e-6)


@pytest.mark.parametrize("patches", [3, 4, 7])
def test_patches_of_the_mean_controlled_are_exchangeable(patches):
    t = draw(MeanControlled(2), IMAGES, patches)
    t = t - t.mean(axis=1, keepdims=True)
    for n in range(patches):
        assert z_of_mean(t[:, n]) < 4.5
        assert z_of_mean(t[:, n] ** 2 - (t**2).mean(axis=1)) < 4.5
    # neighbours in the halving are no closer than others
    near, far = (t[:, 0] - t[:, 1]) ** 2, (t[:, 0] - t[:, -1]) ** 2
    assert z_of_mean(near - far) < 4.5


@pytest.mark.parametrize("patches", [2, 4, 16])
def test_the_sharper_the_closer(patches):
    spread = [draw(MeanControlled(s), 2000, patches).std(axis=1).mean() for s in (0.5, 1, 4, 10)]
    assert all(wide > 1.2 * narrow for wide, narrow in pairwise(spread))


def test_the_least_sharpness_is_a_half():
    assert MeanControlled(0.5).sharpness == 0.5
    with pytest.raises(pf.UserError, match=r"sharpness=0\.49"):
        MeanControlled(0.49)
