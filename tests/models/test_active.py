"""Some tokens alone, with the keys and values of the others as they were."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import patch_forcing as pf
from patch_forcing.core.active import ActiveTokens, token_index
from patch_forcing.core.patches import spread
from tests.support.exact import all_channels, tiny_dit

LABELS = torch.tensor([0, 3, 5])  # the last is the null label


def noisy(seed: int, model: pf.PatchDiT, levels: int = 16) -> tuple[Tensor, pf.PatchTime]:
    """Three images and per-patch times, all different."""
    random = torch.Generator().manual_seed(seed)
    config = model.config
    x = torch.randn(3, config.in_channels, *config.image_size, generator=random)
    if levels == config.num_patches:
        return x, pf.PatchTime.dense(torch.rand(3, levels, generator=random))
    index = torch.randint(levels, (3, config.num_patches), generator=random)
    return x, pf.PatchTime(torch.rand(3, levels, generator=random), index)


@st.composite
def masks(draw: st.DrawFn) -> Tensor:
    """(3, 16), as many patches in each row."""
    count = draw(st.integers(1, 16))
    rows = [draw(st.permutations(range(16)))[:count] for _ in range(3)]
    return torch.zeros(3, 16, dtype=torch.bool).scatter_(1, torch.tensor(rows), True)


def mixed(where: Tensor, new: tuple[Tensor, pf.PatchTime], old: tuple[Tensor, pf.PatchTime]):
    """The new images and times in the patches of `where`, the old ones elsewhere."""
    x = torch.where(spread(where, new[0].shape[-2:], 2), new[0], old[0])
    return x, pf.PatchTime.dense(torch.where(where, new[1].to_dense(), old[1].to_dense()))


@given(masks())
def test_tokens_are_those_of_the_mask_in_order(where):
    count = int(where[0].sum())
    tokens = token_index(where, count)
    assert tokens.tolist() == [row.nonzero()[:, 0].tolist() for row in where]


@pytest.mark.parametrize("levels", [1, 2, 16])
@torch.no_grad()
def test_with_every_token_active_it_is_the_dense_network_bit_for_bit(levels):
    model = tiny_dit()
    memory = []
    x, t = noisy(0, model, levels)
    remembering = model(x, t, LABELS, active=ActiveTokens(None, memory))
    assert all_channels(remembering).equal(all_channels(model(x, t, LABELS)))
    everywhere = torch.arange(16).expand(3, 16)
    for seed in (1, 2):
        x, t = noisy(seed, model, levels)
        active = model(x, t, LABELS, active=ActiveTokens(everywhere, memory))
        assert all_channels(active).equal(all_channels(model(x, t, LABELS)))


@given(masks(), masks(), st.sampled_from([1, 2, 16]))
@torch.no_grad()
def test_one_block_deep_it_is_the_dense_network_on_the_mixed_image(first, second, levels):
    """Keys and values of the first block depend on the token alone, so the mixture is exact."""
    model = tiny_dit(depth=1)
    state, memory = noisy(0, model, levels), []
    model(*state, LABELS, active=ActiveTokens(None, memory))
    for seed, where in enumerate((first, second), start=1):
        tokens = token_index(where, int(where[0].sum()))
        new = noisy(seed, model, levels)
        output = model(*new, LABELS, active=ActiveTokens(tokens, memory))
        state = mixed(where, new, state)
        pixels = spread(where, new[0].shape[-2:], 2)
        expected = all_channels(model(*state, LABELS)) * pixels  # zero elsewhere
        torch.testing.assert_close(all_channels(output), expected)


@given(masks())
@torch.no_grad()
def test_where_nothing_has_changed_any_part_is_part_of_the_whole(where):
    model, memory = tiny_dit(depth=3), []
    x, t = noisy(0, model)
    whole = model(x, t, LABELS, active=ActiveTokens(None, memory))
    tokens = token_index(where, int(where[0].sum()))
    for _ in range(2):
        part = model(x, t, LABELS, active=ActiveTokens(tokens, memory))
        expected = all_channels(whole) * spread(where, x.shape[-2:], 2)
        torch.testing.assert_close(all_channels(part), expected)


@torch.no_grad()
def test_the_others_pixels_and_times_are_not_looked_at():
    model, memory = tiny_dit(depth=3), []
    model(*noisy(0, model), LABELS, active=ActiveTokens(None, memory))
    where = torch.arange(16).expand(3, 16) % 3 == 1
    tokens = token_index(where, 5)
    answers = []
    for seed in (1, 2):
        kept = [block.clone() for block in memory]
        state = mixed(where, noisy(5, model), noisy(seed, model))
        answers.append(model(*state, LABELS, active=ActiveTokens(tokens, kept)))
    assert answers[0].velocity.equal(answers[1].velocity)
    assert answers[0].logvar.equal(answers[1].logvar)


@torch.no_grad()
def test_no_token_at_all_is_nothing():
    model, memory = tiny_dit(), []
    x, t = noisy(0, model)
    model(x, t, LABELS, active=ActiveTokens(None, memory))
    none = torch.empty(3, 0, dtype=torch.int64)
    assert not model(x, t, LABELS, active=ActiveTokens(none, memory)).velocity.any()
