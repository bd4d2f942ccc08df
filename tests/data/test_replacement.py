"""What stands in for bad samples, and how latents are drawn: by hand, from (seed, pass, sample)."""

import numpy as np
import pytest
import torch

from patch_forcing.core.random import CountedGenerator
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.sources import FolderSource, LatentsSource
from patch_forcing.io.ledger import shard_path
from patch_forcing.models.latent_scale import raw
from tests.support.image_files import encoded
from tests.support.latents import SHAPE, SPACE, telling_latents

SIZE, BAD = 12, {3, 7, 8, 9}
SPECS = [BatchSpec(step, 9, seed) for seed in (0, 1, 2**40) for step in range(4)]


def shown(spec):
    """For each place the sample, or the one in its place: drawn from all until one is good."""
    numbers = []
    for number, epoch in zip(spec.sample_ids(SIZE).tolist(), spec.epochs(SIZE), strict=True):
        draws = CountedGenerator(spec.seed, [number], int(epoch)).fork("replacement")
        while number in BAD:
            high, low = draws.uniform(2)[0].double()
            number = int(SIZE * (high + (low - 0.5) * 2.0**-23))  # the next one
        numbers.append(number)
    return torch.tensor(numbers)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Image n, of class n // 4, is n everywhere, or an empty file."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(SIZE):
        file = folder / "abc"[number // 4] / f"{number:02d}.png"
        file.parent.mkdir(exist_ok=True)
        pixels = np.full((8, 8, 3), number, np.uint8)
        file.write_bytes(b"" if number in BAD else encoded(pixels))
    return FolderSource(str(folder), flip=False, max_bad_share=1).open()


@pytest.fixture(scope="module")
def latents(tmp_path_factory):
    """Latent n, of class n % 3, is n, or infinite in one cell."""
    folder = telling_latents(tmp_path_factory.mktemp("latents"), spread=np.log(9))
    for shard, first in enumerate((0, 5, 6)):
        file = shard_path(folder, shard) / "latents.npy"
        rows = np.load(file, mmap_mode="r+")
        for number in BAD & set(range(first, first + len(rows))):
            rows[number - first, 0, 1, 1] = np.inf
        rows.flush()
    return folder


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_images_stand_in_with_their_own_class(images, spec):
    numbers = shown(spec)
    batch = images.batch(spec)
    assert ((batch.x_1[:, 0, 0, 0] + 1) * 127.5).round().long().equal(numbers)
    assert batch.condition.equal(numbers // 4)
    assert images.picture_numbers(spec).equal(numbers)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_latents_stand_in_with_their_own_class_and_are_drawn_for_the_place(latents, spec):
    numbers, options = shown(spec), {"flip": False, "max_bad_share": 1}
    mean = LatentsSource(str(latents), sample_posterior=False, **options).open()
    batch = mean.batch(spec)
    assert raw(SPACE, batch.x_1)[:, 0, 0, 0].round().long().equal(numbers)
    assert batch.condition.equal(numbers % 3)
    assert mean.picture_numbers(spec).equal(numbers)
    drawn = LatentsSource(str(latents), **options).open().batch(spec)
    ids, epochs = spec.sample_ids(SIZE), spec.epochs(SIZE)
    noise = CountedGenerator(spec.seed, ids, epochs).fork("posterior").normal(*SHAPE)
    spread = 0.5 * 3  # scale · exp(logvar / 2)
    torch.testing.assert_close(drawn.x_1, batch.x_1 + spread * noise, rtol=1e-3, atol=1e-3)
