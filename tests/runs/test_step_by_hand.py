"""One optimizer step, computed again from its definition: labels, gradient, clipping, averages."""

import copy
import dataclasses
import math

import pytest
import torch

from patch_forcing.core.path import LinearPath
from patch_forcing.core.random import CountedGenerator
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.runs.parts import build_network, timestep_sampler
from patch_forcing.runs.state import initial_state
from patch_forcing.runs.step import TrainStep
from patch_forcing.training.objective import PatchForcingObjective
from patch_forcing.training.posthoc_ema import WIDTHS, profile_exponent

DROPOUT, NULL = 0.4, 10
"""Share of labels, and the label behind the ten digits."""


@pytest.fixture
def recipe(recipe):
    return dataclasses.replace(recipe, label_dropout=DROPOUT, nll_weight=0.3, seed=5)


def randomise(model):
    """No weight is zero, so that labels matter from the first step on."""
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.2, generator=random)


def begun(recipe, **optimizer):
    """A state, its step, and the batch of each step."""
    changed = dataclasses.replace(recipe.optimizer, **optimizer)
    recipe = dataclasses.replace(recipe, optimizer=changed)
    data = recipe.data.open()
    state = initial_state(recipe, data, "cpu", begin=randomise)
    batches = [data.batch(BatchSpec(step, recipe.batch_size, recipe.seed)) for step in range(4)]
    return state, TrainStep(state, recipe, "cpu"), batches


def loss_by_hand(model, recipe, batch, step):
    """Of a batch whose dropped labels are the null label."""
    generator = CountedGenerator(recipe.seed, range(recipe.batch_size), step)
    dropped = generator.fork("label dropout").uniform() < DROPOUT
    assert 0 < dropped.sum() < recipe.batch_size
    labels = torch.where(dropped, NULL, batch.condition)
    times = timestep_sampler(recipe)
    objective = PatchForcingObjective(LinearPath(model.patch_size), times, recipe.nll_weight)
    return objective(model, batch.x_1, labels, generator=generator)


def gradients_by_hand(model, recipe, batch, step):
    """By the names of weights, and their norm."""
    copied = copy.deepcopy(model)
    loss_by_hand(copied, recipe, batch, step).total.backward()
    gradients = {name: weight.grad for name, weight in copied.named_parameters()}
    return gradients, math.sqrt(sum(float(g.double().square().sum()) for g in gradients.values()))


@pytest.mark.parametrize("seed", [0, 5])
def test_the_first_weights_follow_from_the_seed(recipe, seed):
    recipe = dataclasses.replace(recipe, seed=seed)
    data = recipe.data.open()
    torch.manual_seed(seed)
    expected = build_network(recipe.network, data)
    for network in initial_state(recipe, data, "cpu").networks().values():
        for ours, theirs in zip(network.parameters(), expected.parameters(), strict=True):
            assert ours.equal(theirs)


@pytest.mark.parametrize("timesteps", ["ltg", "ltg:levels=3", "shared-uniform"])
@pytest.mark.parametrize("step", [0, 3])
def test_labels_noise_and_times_are_drawn_by_seed_step_and_place(recipe, step, timesteps):
    recipe = dataclasses.replace(recipe, timesteps=timesteps)
    state, take, batches = begun(recipe)
    expected = loss_by_hand(copy.deepcopy(state.model), recipe, batches[step], step)
    loss, _ = take(batches[step], step)
    for ours, theirs in zip(loss, expected, strict=True):
        assert ours.equal(theirs.detach())


@pytest.mark.parametrize("parts", [2, 4])
def test_parts_of_a_batch_add_up_to_the_loss_and_the_gradient_of_the_whole(recipe, parts):
    state, take, batches = begun(dataclasses.replace(recipe, accumulate=parts))
    expected = loss_by_hand(copy.deepcopy(state.model), recipe, batches[0], 0)
    _, norm_by_hand = gradients_by_hand(state.model, recipe, batches[0], 0)
    loss, norm = take(batches[0], 0)
    for ours, theirs in zip(loss, expected, strict=True):
        torch.testing.assert_close(ours, theirs.detach())
    assert float(norm) == pytest.approx(norm_by_hand, rel=1e-5)


@pytest.mark.parametrize("clip_norm", [0.05, 0.5, math.inf])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_optimizers_see_the_gradient_clipped_to_its_norm(recipe, optimizer, clip_norm):
    state, take, batches = begun(recipe, name=optimizer, clip_norm=clip_norm)
    gradients, norm_by_hand = gradients_by_hand(state.model, recipe, batches[0], 0)
    assert norm_by_hand > 0.5
    _, norm = take(batches[0], 0)
    assert float(norm) == pytest.approx(norm_by_hand, rel=1e-5)
    factor = min(1.0, clip_norm / norm_by_hand)
    kept = {id(weight): one for o in state.optimizers for weight, one in o.state.items()}
    for name, weight in state.model.named_parameters():
        seen = kept[id(weight)]
        clipped = factor * gradients[name]
        if "momentum_buffer" in seen:  # an average with 1 - 0.95 of the new
            torch.testing.assert_close(seen["momentum_buffer"], 0.05 * clipped, rtol=1e-4, atol=0)
        else:  # betas are 0.9 and 0.999
            torch.testing.assert_close(seen["exp_avg"], 0.1 * clipped, rtol=1e-4, atol=0)
            torch.testing.assert_close(seen["exp_avg_sq"], 1e-3 * clipped**2, rtol=1e-4, atol=0)


def test_the_first_steps_are_adamw_s_at_the_warming_learning_rate(recipe):
    state, take, batches = begun(recipe, weight_decay=0.1, warmup_steps=2)
    for step, lr in enumerate([0.01 / 3, 0.02 / 3, 0.01, 0.01]):
        before = [weight.detach().clone() for weight in state.model.parameters()]
        take(batches[step], step)
        for old, weight in zip(before, state.model.parameters(), strict=True):
            seen = state.optimizers[0].state[weight]
            mean = seen["exp_avg"] / (1 - 0.9 ** (step + 1))
            square = seen["exp_avg_sq"] / (1 - 0.999 ** (step + 1))
            expected = old * (1 - lr * 0.1) - lr * mean / (square.sqrt() + 1e-8)
            torch.testing.assert_close(weight.detach(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("decay", [0.15, 0.9])
def test_averages_move_by_their_share_after_each_step(recipe, decay):
    state, take, batches = begun(dataclasses.replace(recipe, ema_decay=decay))
    averages = [[*average.parameters()] for average in state.averages()]
    assert len(averages) == 1 + len(WIDTHS)
    for step in range(4):
        before = [[tensor.clone() for tensor in average] for average in averages]
        take(batches[step], step)
        done = step + 1
        shares = [1 - min(decay, done / (done + 9))]
        shares += [1 - (1 - 1 / done) ** (profile_exponent(width) + 1) for width in WIDTHS]
        for average, old, share in zip(averages, before, shares, strict=True):
            for now, was, weight in zip(average, old, state.model.parameters(), strict=True):
                expected = was + share * (weight.detach() - was)
                torch.testing.assert_close(now, expected, rtol=1e-6, atol=1e-7)
                assert not now.equal(was)
