"""Batches that do not fit into memory."""

import threading
import time
from dataclasses import dataclass, field

import pytest
import torch

import patch_forcing as pf
from patch_forcing.generation.condition_kinds import condition_kind
from patch_forcing.generation.generate import ahead, generate
from patch_forcing.generation.request import SampleRequest
from tests.support.exact import tiny_dit


@dataclass(frozen=True)
class Hungry(pf.samplers.EulerSampler):
    """Euler on a device with room for so many images."""

    room: int = 3
    tried: list[int] = field(default_factory=list)
    message: str = "CUDA out of memory. Tried to allocate 20.00 MiB"

    def __call__(self, velocity, x_0, time_grid, **options):
        self.tried.append(len(x_0))
        if len(x_0) > self.room:
            raise torch.OutOfMemoryError(self.message)
        return super().__call__(velocity, x_0, time_grid, **options)


def images(sampler, batch_size, seeds=range(11)):
    labels = [seed % 5 for seed in seeds]
    model = tiny_dit()
    sampling = SampleRequest(sampler=sampler, num_steps=2).resolve(model)
    conditions = condition_kind(model).choose(labels)
    batches = list(generate(model, sampling, seeds, conditions, batch_size=batch_size))
    assert [seed for batch in batches for seed in batch.seeds] == list(seeds)
    assert [label for batch in batches for label in batch.labels] == labels
    return [len(batch.seeds) for batch in batches], torch.cat([batch.images for batch in batches])


def test_a_batch_that_does_not_fit_is_halved_and_the_images_are_the_same():
    hungry = Hungry()
    sizes, pixels = images(hungry, batch_size=11)
    assert sizes == [3, 3, 3, 2]
    assert hungry.tried == [11, 6, 3, 3, 3, 2]
    _, plain = images(pf.samplers.EulerSampler(), batch_size=3)
    assert pixels.equal(plain)


def test_one_image_that_does_not_fit_is_an_error():
    with pytest.raises(torch.OutOfMemoryError):
        images(Hungry(room=0), batch_size=4)


def test_other_errors_are_not_taken_for_it():
    with pytest.raises(RuntimeError, match="the sampler is wrong"):
        images(Hungry(message="the sampler is wrong"), batch_size=4)


def test_what_does_not_fit_into_a_decoder_goes_through_in_halves():
    model = tiny_dit()
    sampling = SampleRequest(sampler="euler", num_steps=2).resolve(model)
    tried = []

    def decode(x_1):
        tried.append(len(x_1))
        if len(x_1) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return (x_1.clamp(-1, 1) * 100 + 100).to(torch.uint8)

    def run(**options):
        batches = generate(model, sampling, range(5), **options)
        return torch.cat([batch.images for batch in batches])

    pixels = run(decode=decode)
    assert tried == [5, 3, 2, 1, 2]
    assert pixels.shape == (5, 3, 8, 8)
    assert pixels.equal(run(decode=decode, batch_size=2))


def test_one_is_made_ahead_in_a_thread_of_its_own_and_no_more():
    made, here = [], threading.get_ident()

    def items():
        for number in range(4):
            assert threading.get_ident() != here
            made.append(number)
            yield number

    before = []
    for item in ahead(items(), "cpu"):
        wait_until(lambda item=item: len(made) == min(item + 2, 4))
        before.append(item)
    assert before == made == [0, 1, 2, 3]


def test_the_callers_autocast_holds_ahead():
    def products():
        for _ in range(2):
            yield (torch.ones(2, 2) @ torch.ones(2, 2)).dtype

    assert set(ahead(products(), "cpu")) == {torch.float32}
    with torch.autocast("cpu", torch.bfloat16):
        assert set(ahead(products(), "cpu")) == {torch.bfloat16}


def test_an_error_ahead_comes_where_its_item_would():
    def items():
        yield 1
        raise ValueError("no more")

    coming = ahead(items(), "cpu")
    assert next(coming) == 1
    with pytest.raises(ValueError, match="no more"):
        next(coming)


def test_whoever_takes_no_more_leaves_no_thread_behind():
    coming = ahead(iter(range(100)), "cpu")
    assert next(coming) == 0
    threads = threading.active_count()
    coming.close()
    assert threading.active_count() == threads - 1


def wait_until(condition):
    while not condition():
        time.sleep(0.001)


@pytest.mark.gpu
def test_a_gpu_samples_ahead_and_gives_the_same_images():
    model, seeds = tiny_dit(), range(7)
    sampling = SampleRequest(sampler="euler", num_steps=3).resolve(model)
    there = [batch.images for batch in generate(model.cuda(), sampling, seeds, batch_size=2)]
    here = [batch.images for batch in generate(model.cpu(), sampling, seeds, batch_size=7)]
    assert (torch.cat(there).int() - torch.cat(here).int()).abs().max() <= 1
