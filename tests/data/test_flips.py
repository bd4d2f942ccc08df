"""Which samples are shown mirrored: a function of (seed, pass, sample), of images and latents."""

import numpy as np
import pytest
import torch

from patch_forcing.core.random import CountedGenerator
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.sources import FolderSource, LatentsSource
from patch_forcing.models.latent_scale import raw
from tests.support.image_files import encoded
from tests.support.latents import SPACE, telling_latents

SIZE = 12
SPECS = [BatchSpec(step, 9, seed) for seed in (0, 1, 2**40) for step in range(4)]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Image n is n everywhere but for its first column, which is 255."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(SIZE):
        pixels = np.full((8, 8, 3), number, np.uint8)
        pixels[:, 0] = 255
        (folder / f"{number:02d}.png").write_bytes(encoded(pixels))
    return FolderSource(str(folder)).open()


@pytest.fixture(scope="module")
def latents(tmp_path_factory):
    """Latent n is n in its first channel, and n + 100 where it is mirrored."""
    return LatentsSource(str(telling_latents(tmp_path_factory.mktemp("latents")))).open()


def mirrored(spec):
    """For each place its sample, and whether that is mirrored: a draw of its own for each."""
    flips = []
    for number, epoch in zip(spec.sample_ids(SIZE), spec.epochs(SIZE), strict=True):
        draw = CountedGenerator(spec.seed, [int(number)], int(epoch)).fork("flip").uniform()
        flips.append(bool(draw < 0.5))
    return spec.sample_ids(SIZE), torch.tensor(flips)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_images_and_latents_are_mirrored_by_seed_pass_and_sample(images, latents, spec):
    numbers, flips = mirrored(spec)
    assert spec.mirrored(SIZE).equal(flips)
    pixels = ((images.batch(spec).x_1 + 1) * 127.5).round().long()[:, 0, 3]  # a row, (B, 8)
    assert pixels[:, 4].equal(numbers)
    assert (pixels[:, 7] == 255).equal(flips)
    assert (pixels[:, 0] == 255).equal(~flips)
    stored = raw(SPACE, latents.batch(spec).x_1)[:, 0, 0, 0].round().long()
    assert stored.equal(numbers + 100 * flips)


def test_a_share_of_a_batch_is_mirrored_as_in_the_whole(images, latents):
    whole = SPECS[1]
    for data in (images, latents):
        parts = [data.batch(whole.share(rank, 3)).x_1 for rank in range(3)]
        torch.testing.assert_close(torch.cat(parts), data.batch(whole).x_1, rtol=0, atol=0)


def test_seeds_and_passes_mirror_other_samples():
    whole = [BatchSpec(step, SIZE, seed) for seed in (0, 1) for step in (0, 1)]
    by_sample = [spec.mirrored(SIZE)[spec.sample_ids(SIZE).argsort()] for spec in whole]
    assert len({tuple(flips.tolist()) for flips in by_sample}) == 4
