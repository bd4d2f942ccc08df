"""The term of alignment: its formula, what it trains, and features on another grid."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import patch_forcing as pf
from patch_forcing.core.losses import misalignment
from patch_forcing.training.alignment import Alignment, Projector, on_grid
from patch_forcing.training.options import AlignmentConfig
from tests.support.exact import tiny_dit

PATCHES, WIDTH, F = 16, 32, 5
LABELS = torch.tensor([0, 2, 4])


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


X_0, X_1, T = random(3, 3, 8, 8, seed=1), random(3, 3, 8, 8, seed=2), torch.rand(3, PATCHES)
FEATURES = random(3, PATCHES, F, seed=3)


def objective(block=1, weight=0.5):
    torch.manual_seed(3)
    path, times = pf.LinearPath(2), pf.timesteps.LogitNormalTruncatedGaussian()
    alignment = Alignment(Projector(WIDTH, 24, F), block, weight)
    return pf.PatchForcingObjective(path, times, terms=(alignment,))


def test_misalignment_is_minus_the_mean_cosine():
    projected = random(3, PATCHES, F).numpy().astype(np.float64)
    features = FEATURES.numpy().astype(np.float64)
    lengths = np.linalg.norm(projected, axis=2) * np.linalg.norm(features, axis=2)
    expected = -np.mean((projected * features).sum(2) / lengths)
    assert misalignment(torch.from_numpy(projected), FEATURES).item() == pytest.approx(expected)


def test_its_ends_are_parallel_and_opposite_and_zeros_are_like_nothing():
    assert misalignment(7 * FEATURES, FEATURES).item() == pytest.approx(-1)
    assert misalignment(-FEATURES, FEATURES).item() == pytest.approx(1)
    assert misalignment(FEATURES, torch.zeros_like(FEATURES)).item() == 0
    assert misalignment(FEATURES.bfloat16(), FEATURES.half()).dtype == torch.float32


@pytest.mark.parametrize("t", [T, T[:, 0]], ids=["patches", "images"])
@pytest.mark.parametrize("weight", [0.5, 2.0])
def test_the_total_is_the_plain_one_and_the_weighted_term(t, weight):
    model, aligned = tiny_dit(), objective(weight=weight)
    given_ = {"x_0": X_0, "t": t}
    terms = aligned(model, X_1, LABELS, **given_, inputs=(FEATURES,))
    plain = dataclasses.replace(aligned, terms=())(model, X_1, LABELS, **given_)
    assert (terms.velocity, terms.nll) == (plain.velocity, plain.nll)
    # the tokens after the first block, seen by a hook
    seen = []
    with model.blocks[0].register_forward_hook(lambda *call: seen.append(call[2])):
        model(aligned.path.interpolate(X_0, X_1, _time(t)), t, LABELS)
    expected = misalignment(aligned.terms[0].projector(seen[0]), FEATURES)
    assert [*terms.named()] == ["total", "velocity", "nll", "alignment"]
    torch.testing.assert_close(terms.others["alignment"], expected)
    torch.testing.assert_close(terms.total, plain.total + weight * expected)


def _time(t):
    return pf.PatchTime.dense(t) if t.ndim == 2 else pf.PatchTime.shared(t, PATCHES)


def test_it_trains_the_projector_and_the_blocks_before_alone():
    model, aligned = tiny_dit(), objective()
    terms = aligned(model, X_1, LABELS, x_0=X_0, t=T, inputs=(FEATURES,))
    terms.others["alignment"].backward()
    assert all(w.grad.count_nonzero() for w in aligned.terms[0].projector.parameters())
    assert all(w.grad.count_nonzero() for w in model.blocks[0].parameters())
    assert all(w.grad is None for w in model.blocks[1].parameters())
    assert all(w.grad is None for w in model.final_layer.parameters())


def test_each_term_has_its_inputs_and_all_look_after_one_block():
    model, aligned = tiny_dit(), objective()
    with pytest.raises(pf.UserError, match="0 inputs for alignment: give one tensor for each"):
        aligned(model, X_1, LABELS, x_0=X_0, t=T)
    with pytest.raises(pf.UserError, match="1 inputs for no terms: give one tensor for each"):
        plain = dataclasses.replace(aligned, terms=())
        plain(model, X_1, LABELS, x_0=X_0, t=T, inputs=(FEATURES,))
    with pytest.raises(pf.UserError, match=r"terms look after blocks \[1, 2\]: choose one block"):
        dataclasses.replace(aligned, terms=(*aligned.terms, *objective(block=2).terms))


def test_a_model_shows_the_tokens_of_blocks_that_it_has():
    model = tiny_dit()
    plain = model(X_1, T, LABELS)
    for block in (1, 2):
        shown = model(X_1, T, LABELS, tokens_after=block)
        assert shown.velocity.equal(plain.velocity)
        assert shown.logvar.equal(plain.logvar)
        assert shown.tokens.shape == (3, PATCHES, WIDTH)
    for block in (0, 3, -1):
        with pytest.raises(pf.UserError, match=f"no block {block}: this model has 1 to 2"):
            model(X_1, T, LABELS, tokens_after=block)


@pytest.mark.parametrize(("depth", "block"), [(28, 8), (24, 7), (12, 4), (10, 3), (2, 1), (1, 1)])
def test_by_default_the_block_is_the_papers(depth, block):
    assert AlignmentConfig("emoji").block(depth) == block


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "emoji", "weight": 0}, "weight=0 "),
        ({"encoder": "emoji", "weight": math.nan}, "weight=nan "),
        ({"encoder": "emoji", "weight": math.inf}, "weight=inf "),
        ({"encoder": "emoji", "depth": 0}, "depth=0 "),
        ({"encoder": "emoji", "projector_dim": 0}, "projector_dim=0 "),
        ({"encoder": ""}, "encoder is empty"),
        ({"encoder": "emoji", "cache": ""}, "cache is empty"),
        ({"weight": 1.0}, r"weight=1.0 without an encoder: add --alignment.encoder"),
        ({"cache": "x"}, r"cache=x without an encoder"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(pf.UserError, match=rf"alignment\.{message}"):
        AlignmentConfig(**options)


def test_a_block_that_the_network_lacks_is_refused():
    with pytest.raises(pf.UserError, match=r"depth=3: the network has 2 blocks: choose 1 to 2"):
        AlignmentConfig("emoji", depth=3).block(2)


sides = st.integers(1, 9)


@given(sides, sides, sides, sides)
def test_features_that_are_the_same_everywhere_are_so_on_every_grid(rows, columns, to, across):
    row = random(F)
    result = on_grid(row.expand(2, rows * columns, F), (rows, columns), (to, across))
    torch.testing.assert_close(result, row.expand(2, to * across, F))


@given(sides, sides)
def test_features_on_their_own_grid_stay_bit_for_bit(rows, columns):
    features = random(2, rows * columns, F)
    assert on_grid(features, (rows, columns), (rows, columns)).equal(features)


def test_a_ramp_stays_a_ramp_row_by_row():
    # centres of 4 cells lie at 1/8, 3/8, …; of 8 at 1/16, 3/16, …; inside, linear is exact
    at = (torch.arange(4) + 0.5) / 4
    ramp = at[:, None].expand(4, 4).reshape(1, 16, 1)  # grows from row to row
    finer = on_grid(ramp, (4, 4), (8, 8)).view(8, 8)
    torch.testing.assert_close(finer[1:-1, 0], (torch.arange(1, 7) + 0.5) / 8)
    assert finer.std(dim=1).max() < 1e-6
    coarser = on_grid(ramp, (4, 4), (2, 2)).view(2, 2)
    assert coarser.mean().item() == pytest.approx(0.5)
    torch.testing.assert_close(coarser[0], 1 - coarser[1])
