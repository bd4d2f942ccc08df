"""Between bytes and the numbers that a network sees: decoding undoes encoding."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import patch_forcing as pf
from patch_forcing.codecs.autoencoders import load_autoencoder
from patch_forcing.generation.pipeline import MAX_CODED, Pipeline
from patch_forcing.generation.pixels import from_pil, from_uint8, to_uint8
from patch_forcing.models.latent_scale import normalised, raw
from tests.support.autoencoders import small_flux2, small_kl
from tests.support.exact import tiny_dit

EVERY_BYTE = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)


@pytest.mark.parametrize("data_range", [(-1.0, 1.0), (0.0, 1.0), (-2.0, 2.0), (0.3, 0.7)])
def test_every_byte_of_a_pixel_model_comes_back(data_range):
    model = tiny_dit(16, in_channels=1)
    model.data_info = pf.DataInfo(data_range=data_range)
    pipe = Pipeline("pixels", Path(), model)
    x_1 = pipe.encode(EVERY_BYTE)
    assert (x_1.dtype, x_1.shape) == (torch.float32, (1, 1, 16, 16))
    assert x_1.min() == pytest.approx(data_range[0])
    assert x_1.max() == pytest.approx(data_range[1])
    assert pipe.decode(x_1).equal(EVERY_BYTE)


def test_the_data_range_maps_onto_black_and_white():
    info = pf.DataInfo(data_range=(-2.0, 2.0))
    x = torch.tensor([-9.0, -2.0, 0.0, 2.0, 9.0]).view(1, 1, 1, 5)
    assert to_uint8(x, info).flatten().tolist() == [0, 0, 128, 255, 255]
    black_and_white = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 1, 2)
    assert from_uint8(black_and_white, info).flatten().tolist() == [-2.0, 2.0]


def test_samples_are_encoded_as_pil_images_too():
    pipe = pf.load("digits")
    result = pipe([3, 7], [0, 1], num_steps=2)
    x_1 = pipe.encode(result.images)
    assert x_1.equal(pipe.encode(result.pixels))
    assert pipe.decode(x_1).equal(result.pixels)


@pytest.mark.parametrize("maker", [small_kl, small_flux2])
def test_latents_are_the_means_in_the_space_that_the_network_sees(tmp_path, maker):
    autoencoder = load_autoencoder(maker(tmp_path / "autoencoder"))
    space = autoencoder.space
    pipe = Pipeline(
        "latents", tmp_path, tiny_dit(4, in_channels=space.channels), "fp32", autoencoder
    )
    side = 4 * space.factor
    random = torch.Generator().manual_seed(0)
    size = (MAX_CODED + 1, 3, side, side)
    images = torch.randint(256, size, generator=random, dtype=torch.uint8)
    x_1 = pipe.encode(images)
    assert x_1.shape == (len(images), space.channels, 4, 4)
    with torch.no_grad():
        means = autoencoder.encode(images.float() / 127.5 - 1).mean
    assert torch.allclose(x_1, normalised(space, means), atol=1e-4)
    assert torch.allclose(raw(space, x_1).mean((0, 2, 3)), means.mean((0, 2, 3)), atol=1e-4)
    assert torch.allclose(raw(space, x_1).std((0, 2, 3)), means.std((0, 2, 3)), atol=1e-4)
    decoded = pipe.decode(x_1)
    assert (decoded.dtype, decoded.shape) == (torch.uint8, images.shape)
    with torch.no_grad():
        expected = to_uint8(autoencoder.decode(means), pf.DataInfo())
    assert (decoded.int() - expected.int()).abs().max() <= 1


def test_pil_images_are_drawn_over_white_in_the_channels_of_the_model():
    half = np.zeros((2, 3, 4), np.uint8)
    half[:, 1:, 3] = 255  # the first column is transparent, the others are black
    image = Image.fromarray(half)
    assert from_pil([image], 1).tolist() == [[[[255, 0, 0], [255, 0, 0]]]]
    assert from_pil([image, image], 3).shape == (2, 3, 2, 3)


def test_images_that_do_not_fit_are_named():
    pipe = pf.load("digits")
    with pytest.raises(pf.UserError, match=r"images \(2, 1, 9, 8\) .*: give \(B, 1, 8, 8\)"):
        pipe.encode([Image.new("L", (8, 9))] * 2)
    with pytest.raises(pf.UserError, match=r"images of 2 sizes \[\(8, 8\), \(9, 9\)\]"):
        pipe.encode([Image.new("L", (8, 8)), Image.new("L", (9, 9))])
    with pytest.raises(pf.UserError, match="no images: give at least one"):
        pipe.encode([])
    with pytest.raises(pf.UserError, match="floating-point pixels"):
        pipe.encode([Image.new("F", (8, 8))])
