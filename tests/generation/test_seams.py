"""What passes between a sampler and the model's field, and what is called with every evaluation."""

import threading
from dataclasses import dataclass, field

import pytest
import torch

import patch_forcing as pf
from patch_forcing.core.random import CountedGenerator
from patch_forcing.generation.condition_kinds import condition_kind
from patch_forcing.generation.generate import generate
from patch_forcing.generation.request import SampleRequest
from patch_forcing.sampling.field import Field, VelocityField
from tests.support.exact import tiny_dit

PUSH = torch.tensor([0.5, -0.25, 0.0])[:, None, None]


@dataclass(frozen=True)
class Pushed:
    """A field with a constant velocity on top."""

    field: Field

    @property
    def patch_size(self):
        return self.field.patch_size

    def __call__(self, x_t, t, **options):
        output = self.field(x_t, t, **options)
        return output._replace(
            velocity=output.velocity + PUSH.expand_as(x_t),
            unguided=output.unguided + PUSH.expand_as(x_t),
        )


@dataclass
class Decoded:
    """Keeps x_1 of every batch, of which images show bytes alone."""

    x_1: list[torch.Tensor] = field(default_factory=list)

    def __call__(self, x_1):
        self.x_1.append(x_1)
        return torch.zeros(x_1.shape, dtype=torch.uint8)


class CancelledError(Exception):
    """The user has seen enough."""


def samples(model, request, seeds, **options):
    decode = Decoded()
    conditions = condition_kind(model).in_turn(len(seeds))
    sampling = request.resolve(model)
    batches = list(generate(model, sampling, seeds, conditions, decode=decode, **options))
    assert [seed for batch in batches for seed in batch.seeds] == list(seeds)
    return torch.cat(decode.x_1)


def test_a_constant_velocity_moves_samples_as_computed():
    model = tiny_dit()
    request = SampleRequest(sampler="euler", num_steps=1)
    x_0 = CountedGenerator([4, 5]).fork("noise").normal(3, 8, 8)
    one_time = pf.PatchTime.everywhere(0.0, x_0, 16)
    velocity = VelocityField(model, torch.tensor([0, 1]))(x_0, one_time).velocity
    assert samples(model, request, [4, 5], wrap_field=Pushed).equal(x_0 + (velocity + PUSH))
    assert samples(model, request, [4, 5]).equal(x_0 + velocity)


@pytest.mark.parametrize("sampler", ["adams-bashforth", "dual-loop:evaluate=moving", "look-ahead"])
def test_an_image_does_not_depend_on_its_batch_behind_a_wrapper(sampler):
    model, request = tiny_dit(), SampleRequest(sampler=sampler, num_steps=3)
    together = samples(model, request, range(5), wrap_field=Pushed)
    apart = samples(model, request, range(5), wrap_field=Pushed, batch_size=2)
    assert torch.allclose(together, apart, atol=1e-4)
    assert not torch.allclose(together, samples(model, request, range(5)), atol=0.1)


def test_every_batch_has_a_field_of_its_own_with_its_conditions():
    fields = []

    def wrap(field):
        fields.append(field)
        return field

    samples(tiny_dit(), SampleRequest(sampler="euler", num_steps=1), range(5), wrap_field=wrap,
            batch_size=2)  # fmt: skip
    assert [field.condition.tolist() for field in fields] == [[0, 1], [2, 3], [4]]


@pytest.fixture(scope="module")
def digits():
    return pf.load("digits")


def test_every_evaluation_is_called_with_the_seeds_of_its_batch(digits):
    calls = []

    def look(evaluation, seeds):
        assert threading.current_thread() is threading.main_thread()  # of a CPU
        calls.append((evaluation, seeds))

    options = {"sampler": "dual-loop", "num_steps": 2, "batch_size": 2, "trace": True}
    result = digits([1], range(5), callback=look, **options)
    assert [seeds for _, seeds in calls] == [(0, 1)] * 8 + [(2, 3)] * 8 + [(4,)] * 8
    for number, evaluation in enumerate(result.trace):
        parts = [call.prediction for call, _ in calls[number::8]]
        assert torch.cat(parts).equal(evaluation.prediction)
    assert result.pixels.equal(digits([1], range(5), **options).pixels)


def test_a_callback_stops_it_all_by_raising(digits):
    calls = []

    def stop(evaluation, seeds):
        calls.append((evaluation.step, seeds))
        if calls[-1] == (1, (2, 3)):
            raise CancelledError

    with pytest.raises(CancelledError):
        digits([1], range(6), sampler="euler", num_steps=3, batch_size=2, callback=stop)
    assert calls == [*((step, (0, 1)) for step in range(3)), (0, (2, 3)), (1, (2, 3))]


def test_what_was_finished_before_a_stop_is_whole():
    def stop(_, seeds):
        if seeds == (2, 3):
            raise CancelledError

    model = tiny_dit()
    sampling = SampleRequest(sampler="euler", num_steps=2).resolve(model)
    coming = generate(model, sampling, range(6), batch_size=2, callback=stop)
    assert next(coming).seeds == (0, 1)
    with pytest.raises(CancelledError):
        next(coming)
    assert list(coming) == []


@pytest.mark.gpu
def test_a_gpu_calls_from_the_thread_that_samples_ahead():
    threads = set()

    def look(*_):
        threads.add(threading.current_thread())

    model = tiny_dit().cuda()
    sampling = SampleRequest(sampler="euler", num_steps=2).resolve(model)
    list(generate(model, sampling, range(4), batch_size=2, callback=look))
    assert threading.main_thread() not in threads
    assert len(threads) == 1
