"""Counted randomness: the bits of Philox, and rows that know nothing of each other."""

import math
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from patch_forcing.core.random import (
    CountedGenerator,
    _crc32,
    draw_normal,
    draw_uniform,
    philox,
)

DRAWS = ("uniform", "normal")


def python_philox(counter, key):
    """Philox-4x32-10 in Python's unbounded integers (Salmon et al. 2011, section 3.3)."""
    x0, x1, x2, x3 = counter
    for r in range(10):
        k0, k1 = (key[0] + r * 0x9E3779B9) % 2**32, (key[1] + r * 0xBB67AE85) % 2**32
        high0, low0 = divmod(x0 * 0xD2511F53, 2**32)
        high1, low1 = divmod(x2 * 0xCD9E8D57, 2**32)
        x0, x1, x2, x3 = high1 ^ x1 ^ k0, low1, high0 ^ x3 ^ k1, low0
    return [x0, x1, x2, x3]


def z_of_correlation(a, b):
    """Pearson's r of independent samples is normal with deviation 1/√n."""
    return abs(np.corrcoef(a, b)[0, 1]) * math.sqrt(len(a))


KNOWN = [  # Random123, kat_vectors: counter, key, words
    ([0] * 4, [0] * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_philox_gives_the_published_words(counter, key, words):
    expected = [int(word, 16) for word in words.split()]
    assert philox(torch.tensor(counter), torch.tensor(key)).tolist() == expected
    assert python_philox(counter, key) == expected


words = st.integers(0, 2**32 - 1)
blocks = st.tuples(st.lists(words, min_size=4, max_size=4), st.lists(words, min_size=2, max_size=2))


@given(st.lists(blocks, min_size=1, max_size=20))
def test_philox_agrees_with_python_integers(blocks):
    counters, keys = (torch.tensor(part) for part in zip(*blocks, strict=True))
    assert philox(counters, keys).tolist() == [python_philox(*block) for block in blocks]


@given(st.integers(0, 2**63 - 1), words, words)
def test_uniforms_are_the_high_23_bits_counted_by_block_draw_step_and_id(seed, step, sample):
    generator = CountedGenerator(seed, [sample], step)
    for draw in range(2):
        bits = []
        for block in range(2):
            bits += python_philox([block, draw, step, sample], [seed % 2**32, seed >> 32])
        assert generator.uniform(6)[0].tolist() == [((w >> 9) + 0.5) / 2**23 for w in bits[:6]]


@pytest.mark.parametrize("draw", DRAWS)
@given(
    seeds=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=9),
    step=words,
    shape=st.lists(st.integers(1, 5), max_size=3),
    data=st.data(),
)
def test_a_row_does_not_depend_on_the_batch_around_it(draw, seeds, step, shape, data):
    ids = data.draw(st.lists(words, min_size=len(seeds), max_size=len(seeds)))
    batch = getattr(CountedGenerator(seeds, ids, step), draw)(*shape)
    assert batch.shape == (len(seeds), *shape)
    for row, (seed, sample) in enumerate(zip(seeds, ids, strict=True)):
        alone = getattr(CountedGenerator(seed, [sample], step), draw)(*shape)
        assert alone[0].equal(batch[row])


@pytest.mark.parametrize("draw", DRAWS)
def test_the_order_of_a_batch_does_not_matter(draw):
    forward = getattr(CountedGenerator(7, range(33)), draw)(5)
    backward = getattr(CountedGenerator(7, torch.arange(33).flip(0)), draw)(5)
    assert forward.flip(0).equal(backward)


@pytest.mark.parametrize("draw", DRAWS)
def test_seed_id_step_purpose_and_draw_all_give_other_numbers(draw):
    again = CountedGenerator(1)
    again.uniform(8)
    generators = [
        CountedGenerator(1),
        CountedGenerator(0),
        CountedGenerator(1 + 2**32),  # the key's second word
        CountedGenerator(1, [1]),
        CountedGenerator(1, step=1),
        CountedGenerator(1).fork("noise"),
        CountedGenerator(1).fork("timesteps"),
        again,
    ]
    rows = torch.cat([getattr(generator, draw)(8) for generator in generators])
    assert rows.unique().numel() == rows.numel()


def test_draws_and_forks_of_a_child_do_not_shift_the_parent():
    alone, parent = CountedGenerator(3), CountedGenerator(3)
    first, second = alone.uniform(4), alone.uniform(4)
    child = parent.fork("noise")
    child.uniform(4)
    assert parent.uniform(4).equal(first)
    child.fork("again").normal(4)
    assert parent.uniform(4).equal(second)


def test_draws_of_the_parent_do_not_shift_a_child():
    parent, busy = CountedGenerator(3), CountedGenerator(3)
    child = parent.fork("noise")
    first, second = child.uniform(4), child.uniform(4)
    busy.uniform(4)
    late = busy.fork("noise")
    assert late.uniform(4).equal(first)
    busy.normal(4)
    assert late.uniform(4).equal(second)


def test_a_fork_of_a_fork_is_not_the_fork_of_the_joined_purpose():
    nested = CountedGenerator(3).fork("no").fork("ise").uniform(8)
    assert not nested.equal(CountedGenerator(3).fork("noise").uniform(8))


def test_a_fork_for_an_empty_purpose_is_not_its_parent():
    parent = CountedGenerator(3)
    assert not parent.fork("").uniform(8).equal(parent.uniform(8))


def test_uniforms_stay_strictly_between_0_and_1():
    # ids found by search: the first word of one starts with zeros, the second of the other with
    # ones
    ids = [5_296_325, 18_592_171]
    words = [python_philox([0, 0, 0, sample], [0, 0])[n] for n, sample in enumerate(ids)]
    assert [word >> 9 for word in words] == [0, 2**23 - 1]
    drawn = CountedGenerator(0, ids).uniform(4)
    assert drawn[0, 0] == 2.0**-24
    assert drawn[1, 1] == 1 - 2.0**-24
    assert CountedGenerator(0, ids).normal(4).isfinite().all()


def test_uniforms_are_uniform():
    # over the numbers of one row, over rows, over steps and over draws
    generator = CountedGenerator(5)
    for sample in (
        CountedGenerator(5).uniform(20_000),
        CountedGenerator(5, range(20_000)).uniform(),
        CountedGenerator(range(20_000)).uniform(),
        torch.cat([CountedGenerator(5, step=step).uniform(9) for step in range(300)]),
        torch.cat([generator.uniform(9) for _ in range(300)]),
    ):
        assert stats.kstest(sample.flatten().double().numpy(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("count", [1, 4, 7])
def test_normals_are_box_and_mullers_of_the_draws_uniforms(count):
    half = (count + 1) // 2
    uniforms = CountedGenerator(6, range(9)).uniform(2 * half).double().numpy()
    radius, angle = np.sqrt(-2 * np.log(uniforms[:, :half])), 2 * np.pi * uniforms[:, half:]
    expected = np.hstack([radius * np.cos(angle), radius * np.sin(angle)])[:, :count]
    drawn = CountedGenerator(6, range(9)).normal(count).double().numpy()
    np.testing.assert_allclose(drawn, expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize(("ids", "count"), [(1, 50_001), (10_001, 5)])
def test_normals_are_standard_normal(ids, count):
    z = CountedGenerator(6, range(ids)).normal(count).flatten().double().numpy()
    n = len(z)
    assert stats.kstest(z, "norm").pvalue > 1e-3
    assert abs(z.mean()) < 4.5 / math.sqrt(n)
    assert abs((z**2).mean() - 1) < 4.5 * math.sqrt(2 / n)
    assert abs((z**4).mean() - 3) < 4.5 * math.sqrt(96 / n)  # Var z⁴ = 105 − 9


def test_tails_of_the_normal_are_populated():
    z = CountedGenerator(8).normal(400_000)
    for bound in (3.0, 4.0):
        for tail in (z > bound, z < -bound):
            assert stats.binomtest(int(tail.sum()), z.numel(), stats.norm.sf(bound)).pvalue > 1e-3


@pytest.mark.parametrize("draw", DRAWS)
def test_neighbours_are_uncorrelated(draw):
    n = 20_000
    one = getattr(CountedGenerator(9), draw)(n)[0].numpy()
    others = {
        "next seed": CountedGenerator(10),
        "next id": CountedGenerator(9, [1]),
        "next step": CountedGenerator(9, step=1),
        "a purpose": CountedGenerator(9).fork("noise"),
    }
    for name, other in others.items():
        assert z_of_correlation(one, getattr(other, draw)(n)[0].numpy()) < 4.5, name
    assert z_of_correlation(one[:-1], one[1:]) < 4.5
    rows = getattr(CountedGenerator(9, range(n)), draw)(2).numpy()
    assert z_of_correlation(rows[:, 0], rows[:, 1]) < 4.5
    assert z_of_correlation(rows[:-1, 0], rows[1:, 0]) < 4.5


def test_the_halves_of_a_box_muller_pair_are_independent():
    z = CountedGenerator(11).normal(100_000)[0].numpy()
    cosines, sines = z[:50_000], z[50_000:]
    assert z_of_correlation(cosines, sines) < 4.5
    assert z_of_correlation(cosines**2, sines**2) < 4.5


@pytest.mark.parametrize("draw", [draw_uniform, draw_normal])
def test_draws_take_the_rows_of_a_counted_generator(draw):
    drawn = draw(CountedGenerator(2, range(4)), 4, 3, 2)
    method = {draw_uniform: "uniform", draw_normal: "normal"}[draw]
    assert drawn.equal(getattr(CountedGenerator(2, range(4)), method)(3, 2))
    with pytest.raises(ValueError, match=r"4 rows .* batch of 5"):
        draw(CountedGenerator(2, range(4)), 5, 3)


@pytest.mark.parametrize("draw", [draw_uniform, draw_normal])
def test_draws_with_a_torch_generator_repeat(draw):
    first, second, other = (
        draw(torch.Generator().manual_seed(seed), 3, 2, device="cpu") for seed in (1, 1, 2)
    )
    assert first.equal(second)
    assert not first.equal(other)
    assert first.shape == (3, 2)
    assert first.dtype == torch.float32


@pytest.mark.parametrize("draw", [draw_uniform, draw_normal])
def test_draws_without_a_generator_follow_the_global_seed(draw):
    torch.manual_seed(4)
    first = draw(None, 3)
    torch.manual_seed(4)
    assert draw(None, 3).equal(first)
    assert first.shape == (3,)


@given(st.text(), st.integers(0, 2**32 - 1))
def test_purposes_are_hashed_as_zlib_hashes_them(purpose, start):
    """So what was drawn for a purpose stays drawn, although compiled code cannot call zlib."""
    assert _crc32(purpose, start) == zlib.crc32(b"\0" + purpose.encode(), start)
