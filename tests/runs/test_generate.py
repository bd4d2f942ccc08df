"""Batches that do not fit into memory."""

from dataclasses import dataclass, field

import pytest
import torch

import patch_forcing as pf
from exact import tiny_dit
from patch_forcing.runs.generate import generate
from patch_forcing.sampling.grids import uniform_grid


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
    model, grid = tiny_dit(), uniform_grid(2)
    batches = list(generate(model, sampler, grid, seeds, labels, batch_size=batch_size))
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
