"""One optimizer step: a failed one changes nothing, and a recorded one is the same step."""

import dataclasses
import json
import math
from typing import ClassVar

import pytest
import torch

from patch_forcing.data.batch import Batch
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.sources import Digits
from patch_forcing.runs.state import initial_state
from patch_forcing.runs.step import TrainStep
from patch_forcing.runs.step_weights import half_weights
from patch_forcing.runs.trainer import train
from tests.scripts.recorded_step import CLOSE
from tests.support.scripts import run_script
from tests.support.waits import waits


def everything(state):
    """All tensors that a step may change."""
    optimizers = [one for o in state.optimizers for one in o.state_dict()["state"].values()]
    kept = [tensor for one in optimizers for tensor in one.values()]
    return [tensor.detach().clone() for tensor in (*state.model.parameters(), *kept)] + [
        tensor.clone() for average in state.averages() for tensor in average.parameters()
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
        x_1, labels, *_ = data.batch(BatchSpec(number, recipe.batch_size, recipe.seed))
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


@dataclasses.dataclass(frozen=True)
class Vertical:
    """A term of value 0, at which its slope is not finite."""

    layer: torch.nn.Linear
    name, weight, block = "vertical", 1.0, 1

    @property
    def modules(self):
        return {"layer": self.layer}

    def __call__(self, tokens, inputs):
        return (0 * self.layer(tokens).mean()).sqrt()


class RunsVertically:
    """What a run needs of it."""

    record: ClassVar = {}

    def build(self, network):
        return Vertical(torch.nn.Linear(network.hidden_size, 1))

    def inputs(self, batch, step):
        return batch.x_1


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_gradient_that_is_not_finite_changes_nothing_though_the_loss_is(recipe, optimizer):
    recipe, terms = with_optimizer(recipe, optimizer), [RunsVertically()]
    data = recipe.data.open()
    state = initial_state(recipe, data, "cpu", terms)
    step = TrainStep(state, recipe, "cpu", terms=terms)
    networks = [*state.networks().values(), *state.term_modules().values()]
    weights = [weight for network in networks for weight in network.parameters()]
    before = [weight.detach().clone() for weight in weights]
    loss, norm = step(data.batch(BatchSpec(0, recipe.batch_size, recipe.seed)), 0)
    assert loss.total.isfinite()
    assert not norm.isfinite()
    assert all(now.equal(was) for now, was in zip(weights, before, strict=True))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("timesteps", ["ltg", "ltg:levels=4", "tg", "shared-uniform"])
def test_a_step_waits_for_nothing(recipe, optimizer, timesteps):
    recipe = dataclasses.replace(with_optimizer(recipe, optimizer), timesteps=timesteps)
    data = recipe.data.open()
    step = TrainStep(initial_state(recipe, data, "cpu"), recipe, "cpu")
    batches = [data.batch(BatchSpec(number, recipe.batch_size, recipe.seed)) for number in range(2)]
    assert [waits(lambda k=k: step(batches[k], k)) for k in range(2)] == [0, 0]


def test_what_moves_all_at_once_is_what_moves_one_after_the_other(recipe):
    # on a GPU that is what a compiled step does
    data = recipe.data.open()
    states = [initial_state(recipe, data, "cpu") for _ in range(2)]
    steps = [TrainStep(state, recipe, "cpu") for state in states]
    steps[1]._at_once = True
    for number in range(4):
        x_1, labels, *_ = data.batch(BatchSpec(number, recipe.batch_size, recipe.seed))
        batch = Batch(x_1 * math.nan if number == 2 else x_1, labels)
        norms = [step(batch, number)[1] for step in steps]
        torch.testing.assert_close(*norms, equal_nan=True)
        for one, other in zip(*map(everything, states), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    x_1, labels, *_ = data.batch(BatchSpec(4, recipe.batch_size, recipe.seed))
    assert waits(lambda: steps[1](Batch(x_1, labels), 4)) == 0


@pytest.mark.parametrize("timesteps", ["ltg", "shared-uniform"])
def test_weights_kept_in_bf16_beside_fp32_make_the_same_bits(recipe, timesteps):
    # on a GPU that is what a compiled step in bf16 does
    recipe = dataclasses.replace(recipe, timesteps=timesteps, precision="bf16")
    data = recipe.data.open()
    states = [initial_state(recipe, data, "cpu") for _ in range(2)]
    steps = [TrainStep(state, recipe, "cpu") for state in states]
    for step in steps:
        step._at_once = True
    steps[1]._halves = halves = half_weights(states[1].model)
    assert len(halves) == 5 * recipe.network.depth + 4  # two of times, two of the final layer
    for number in range(4):
        x_1, labels, *_ = data.batch(BatchSpec(number, recipe.batch_size, recipe.seed))
        batch = Batch(x_1 * math.nan if number == 2 else x_1, labels)
        (loss, norm), (other, other_norm) = [step(batch, number) for step in steps]
        results = [(one.total, one.velocity, one.nll) for one in (loss, other)]
        torch.testing.assert_close(*results, rtol=0, atol=0, equal_nan=True)
        torch.testing.assert_close(norm, other_norm, rtol=0, atol=0, equal_nan=True)
        assert all(a.equal(b) for a, b in zip(*map(everything, states), strict=True))
        for name, half in halves.items():
            assert half.equal(states[1].model.get_parameter(name).bfloat16())


@dataclasses.dataclass(frozen=True)
class Spoilt:
    """The digits, but for one step whose images hold NaN."""

    at_step: int

    def open(self):
        at_step, digits = self.at_step, Digits().open()

        class Data(type(digits)):
            def batch(self, spec, device="cpu"):
                batch = super().batch(spec, device)
                return batch._replace(x_1=batch.x_1 * math.nan) if spec.step == at_step else batch

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


@pytest.mark.parametrize(
    "device",
    [pytest.param("cpu", marks=pytest.mark.slow), pytest.param("cuda", marks=pytest.mark.gpu)],
)
def test_the_compiled_and_recorded_step_is_the_step_and_waits_for_nothing(device):
    # in a process of its own: the type checks of the tests cannot be compiled
    differences = json.loads(run_script("recorded_step", device))
    assert len(differences) == 8
    assert max(differences.values()) < CLOSE, differences


@pytest.mark.parametrize(
    "device",
    [pytest.param("cpu", marks=pytest.mark.slow), pytest.param("cuda", marks=pytest.mark.gpu)],
)
def test_sums_during_the_backward_pass_are_those_after_it(device):
    if device == "cuda" and torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    printed = run_script("overlapped_step", device, launcher=launcher)
    plain, in_parts, compiled = json.loads(printed.splitlines()[-1])  # gloo may write lines before
    assert all(case["ranks"] for case in (plain, in_parts, compiled))
    if device == "cpu":  # of two numbers there is one sum
        assert plain["bitwise"] and in_parts["bitwise"]
    assert max(case["apart"] for case in (plain, in_parts, compiled)) < 1e-4
    assert compiled["graphs"] <= 4  # one for all pieces
