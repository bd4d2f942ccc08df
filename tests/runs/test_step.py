"""One optimizer step: a failed one changes nothing, and a recorded one is the same step."""

import dataclasses
import json
import math

import pytest
import torch

from patch_forcing.data.batch import Batch
from patch_forcing.data.digits import Digits
from patch_forcing.runs.step import TrainStep, side_stream
from patch_forcing.runs.trainer import initial_state, train
from waits import waits


def everything(state):
    """All tensors that a step may change."""
    optimizers = [one for o in state.optimizers for one in o.state_dict()["state"].values()]
    kept = [tensor for one in optimizers for tensor in one.values()]
    return [tensor.detach().clone() for tensor in (*state.model.parameters(), *kept)] + [
        tensor.clone() for tensor in state.ema.parameters()
    ]


def with_optimizer(recipe, name):
    return dataclasses.replace(recipe, optimizer=dataclasses.replace(recipe.optimizer, name=name))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_step_that_is_not_finite_changes_nothing(recipe, bad, optimizer):
    recipe = with_optimizer(recipe, optimizer)
    data = recipe.data.open()
    state = initial_state(recipe, data, "cpu")
    step = TrainStep(state, recipe, "cpu")
    for number in range(5):
        before = everything(state)
        x_1, labels = data.batch(number, recipe.batch_size, recipe.seed)
        if number % 2:
            x_1 = x_1.clone()
            x_1[0, 0, 0, 0] = bad
        loss, norm = step(Batch(x_1, labels), number)
        after = everything(state)
        if number % 2:
            assert not (loss.total.isfinite() and norm.isfinite())
            assert all(a.equal(b) for a, b in zip(after, before, strict=True))
        else:
            assert loss.total.isfinite()
            assert not all(a.equal(b) for a, b in zip(after, before, strict=False))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("timesteps", ["ltg", "ltg:levels=4", "tg", "shared-uniform"])
def test_a_step_waits_for_nothing(recipe, optimizer, timesteps):
    recipe = dataclasses.replace(with_optimizer(recipe, optimizer), timesteps=timesteps)
    data = recipe.data.open()
    step = TrainStep(initial_state(recipe, data, "cpu"), recipe, "cpu")
    batches = [data.batch(number, recipe.batch_size, recipe.seed) for number in range(2)]
    assert [waits(lambda k=k: step(batches[k], k)) for k in range(2)] == [0, 0]


@dataclasses.dataclass(frozen=True)
class Spoilt:
    """The digits, but for one step whose images hold NaN."""

    at_step: int

    def open(self):
        at_step, digits = self.at_step, Digits().open()

        class Data(type(digits)):
            def batch(self, step, batch_size, seed, device="cpu"):
                batch = super().batch(step, batch_size, seed, device)
                return batch._replace(x_1=batch.x_1 * math.nan) if step == at_step else batch

        return Data(digits.images, digits.labels, digits.num_classes, digits.info)


def test_a_run_survives_a_failed_step_and_counts_it(recipe, tmp_path):
    spoilt = dataclasses.replace(recipe, data=Spoilt(at_step=3), log_every=2)
    outcome = train("digits", spoilt, tmp_path / "run", progress=False)
    assert outcome.steps == recipe.steps
    rows = [
        json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    assert [row["failed_steps"] for row in rows] == [0, 1, 1]
    assert rows[1]["total"] is None  # JSON knows no NaN
    assert math.isfinite(rows[2]["total"])


@pytest.mark.gpu
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("timesteps", ["ltg", "ltg:levels=4", "shared-uniform"])
def test_the_recorded_step_is_the_step(recipe, optimizer, timesteps):
    # still warming up when the step is recorded: a learning rate kept from then would show
    slow = dataclasses.replace(recipe.optimizer, name=optimizer, warmup_steps=20)
    recipe = dataclasses.replace(recipe, optimizer=slow, timesteps=timesteps, steps=12)
    data, device = recipe.data.open(), "cuda"
    ends = []
    for compiled in (False, True):
        chosen = dataclasses.replace(recipe, compile=compiled)
        state = initial_state(chosen, data, device)
        step = TrainStep(state, chosen, device)
        with side_stream(device):
            for number in range(recipe.steps):
                x_1, labels = data.batch(number, recipe.batch_size, recipe.seed, device)
                if number == 9:  # within the recording
                    x_1 = x_1 * math.nan
                step(Batch(x_1, labels), number)
        ends.append(everything(state))
    for one, other in zip(*ends, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)
