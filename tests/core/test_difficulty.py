"""Difficulty of patches and the fixed-size set of easy ones."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

import patch_forcing as pf
from patch_forcing.core.difficulty import easy_count, easy_set

fractions = st.fractions(0, 1, max_denominator=1000)


def test_difficulty_is_the_mean_variance_of_the_patch():
    logvar = torch.randn(2, 1, 4, 6)
    d = pf.difficulty(logvar, 2)
    assert d.shape == (2, 6)
    for b in range(2):
        for n in range(6):
            y, x = 2 * (n // 3), 2 * (n % 3)
            cell = logvar[b, 0, y : y + 2, x : x + 2]
            expected = sum(math.exp(v) for v in cell.flatten().tolist()) / 4
            assert d[b, n].item() == pytest.approx(expected, rel=1e-5)


def test_difficulty_is_finite_fp32_for_any_log_variance():
    logvar = torch.tensor([-1e4, 1e4, -30.0, 20.0]).bfloat16().view(1, 1, 2, 2)
    d = pf.difficulty(logvar, 1)
    assert d.dtype == torch.float32
    expected = [math.exp(-30), math.exp(20)] * 2
    assert d[0].tolist() == pytest.approx(expected, rel=1e-5)


@given(fractions, st.integers(1, 5000))
@example(Fraction(29, 100), 100)  # 0.29·100 < 29 in floating point
@example(Fraction(57, 100), 100)
@example(Fraction(1, 3), 3)
@example(Fraction(0), 7)
@example(Fraction(1), 7)
def test_the_count_is_the_floor_of_the_exact_product(p, patches):
    assert easy_count(float(p), patches) == math.floor(p * patches)


@given(st.lists(st.lists(st.integers(0, 5), min_size=9, max_size=9), min_size=1), fractions)
def test_the_easy_set_is_the_head_of_a_stable_sort(maps, p):
    easy = easy_set(torch.tensor(maps, dtype=torch.float32), float(p))
    for row, chosen in zip(maps, easy.tolist(), strict=True):
        head = sorted(range(9), key=lambda n: (row[n], n))[: math.floor(p * 9)]
        assert [n for n in range(9) if chosen[n]] == sorted(head)


@given(st.integers(1, 300), fractions)
def test_a_flat_map_yields_its_first_patches(patches, p):
    count = math.floor(p * patches)
    expected = [n < count for n in range(patches)]
    assert easy_set(torch.ones(2, patches), float(p)).tolist() == [expected] * 2


@given(st.integers(1, 300), fractions, st.integers(0, 99))
def test_easy_patches_are_no_harder_than_the_rest(patches, p, seed):
    d = torch.rand(3, patches, generator=torch.Generator().manual_seed(seed))
    easy = easy_set(d, float(p))
    assert easy.sum(dim=1).tolist() == [math.floor(p * patches)] * 3
    inf = torch.full_like(d, torch.inf)
    hardest_easy, easiest_hard = d.where(easy, -inf).amax(1), d.where(~easy, inf).amin(1)
    assert (hardest_easy <= easiest_hard).all()


def test_a_patch_whose_difficulty_is_not_a_number_is_hard():
    d = torch.tensor([[torch.nan, 3.0, torch.inf, 1.0]])
    assert easy_set(d, 0.5).tolist() == [[False, True, False, True]]


@pytest.mark.parametrize("value", [0, 0.0, 0.4, 1, 1.0])
def test_fractions_from_0_to_1_pass(value):
    easy_count(value, 10)


@pytest.mark.parametrize("value", [-0.01, 1.01, math.nan, math.inf, -math.inf])
def test_other_fractions_are_refused_by_name(value):
    with pytest.raises(pf.UserError, match=rf"easy_fraction={value} .*choose 0 to 1"):
        easy_count(value, 10)
