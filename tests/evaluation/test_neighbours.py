"""Precision, recall, density and coverage are those of scikit-learn's neighbours."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from patch_forcing.core.errors import UserError
from patch_forcing.evaluation import distances
from patch_forcing.evaluation.neighbours import PrecisionRecall, precision_recall

SEEDS = st.integers(0, 2**32 - 1)


def near(points, manifold, neighbours):
    """Share of the points in a ball around a member of the manifold, by scikit-learn."""
    search = NearestNeighbors(n_neighbors=neighbours, algorithm="brute").fit(manifold)
    radii = search.kneighbors()[0][:, -1]  # of its fellows: a member is not its own neighbour
    every = NearestNeighbors(n_neighbors=len(manifold), algorithm="brute").fit(manifold)
    distances, members = every.kneighbors(points)
    return (distances <= radii[members]).any(axis=1).mean()


@given(SEEDS, st.integers(1, 5), st.integers(0, 30), st.integers(0, 30), st.integers(1, 4))
def test_precision_and_recall_are_those_of_a_search(seed, neighbours, real, sampled, width):
    random = np.random.default_rng(seed)
    a = random.standard_normal((neighbours + 1 + real, width))
    b = 1.5 * random.standard_normal((neighbours + 1 + sampled, width)) + 0.5
    result = precision_recall(torch.from_numpy(a), torch.from_numpy(b), neighbours)
    assert result.precision == pytest.approx(near(b, a, neighbours))
    assert result.recall == pytest.approx(near(a, b, neighbours))


@given(SEEDS, st.integers(4, 40), st.integers(1, 6))
def test_a_set_covers_itself_and_its_parts(seed, count, width):
    random = torch.Generator().manual_seed(seed)
    real = torch.randn(count, width, generator=random)
    assert precision_recall(real, real) == PrecisionRecall(1, 1)
    part = real[torch.randperm(count, generator=random)[:4]]
    assert precision_recall(real, part).precision == 1
    assert precision_recall(part, real).recall == 1


def test_sets_far_apart_cover_nothing_of_each_other():
    real = torch.randn(20, 3)
    assert precision_recall(real, real + 100) == PrecisionRecall(0, 0)


def test_one_mode_of_two_has_full_precision_and_half_the_recall():
    one = torch.randn(40, 2)
    assert precision_recall(torch.cat([one, one + 100]), one) == PrecisionRecall(1, 0.5)
    assert precision_recall(one, torch.cat([one, one + 100])) == PrecisionRecall(0.5, 1)


def test_a_ball_reaches_to_its_last_neighbour_and_no_further():
    # on a line, with two neighbours, the balls of 0, 1, 3 and 7 reach 3, 2, 3 and 6 far
    real = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    for place, inside in {-3: 1, -3.1: 0, 6: 1, 13: 1, 13.1: 0, 1.5: 1}.items():
        samples = torch.full((3, 1), float(place))
        assert precision_recall(real, samples, 2).precision == inside


def test_where_the_origin_lies_does_not_matter():
    # whole numbers of 2^−7, so that fp32 holds them exactly near 1000 too
    real, sampled = ((torch.randn(40, 3) * 128).round() / 128 for _ in range(2))
    near = precision_recall(real, sampled)
    assert 0 < near.precision < 1
    assert precision_recall(real + 1000, sampled + 1000) == near


def test_three_neighbours_unless_told_otherwise():
    real, sampled = torch.randn(30, 2), torch.randn(30, 2)
    assert precision_recall(real, sampled) == precision_recall(real, sampled, 3)
    assert precision_recall(real, sampled, 3) != precision_recall(real, sampled, 1)


@pytest.mark.parametrize("rows", [1, 7, 50, 64])
def test_how_many_distances_are_held_at_once_does_not_matter(monkeypatch, rows):
    real, sampled = torch.randn(50, 4), torch.randn(64, 4) + 0.5
    whole = precision_recall(real, sampled)
    assert 0 < whole.recall < 1
    monkeypatch.setattr(distances, "ROWS", rows)
    assert precision_recall(real, sampled) == whole


@pytest.mark.parametrize(("real", "sampled", "few"), [(3, 9, "3 real"), (9, 2, "2 sampled")])
def test_a_set_without_that_many_neighbours_is_refused_by_name(real, sampled, few):
    with pytest.raises(UserError, match=f"{few} images for 3 neighbours: give more images"):
        precision_recall(torch.randn(real, 2), torch.randn(sampled, 2))


@pytest.mark.parametrize("which", [0, 1])
def test_features_that_are_not_finite_have_no_precision(which):
    sets = [torch.randn(5, 2), torch.randn(5, 2)]
    sets[which][3, 1] = torch.nan
    with pytest.raises(UserError, match=("real", "sampled")[which]):
        precision_recall(*sets)


def test_features_of_two_networks_have_no_precision():
    with pytest.raises(UserError, match="2 and 3 numbers"):
        precision_recall(torch.randn(5, 2), torch.randn(5, 3))
