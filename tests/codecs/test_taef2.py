"""TAEF2: its layers against a reading of its description, in miniature; and the real file."""

import os

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

import patch_forcing as pf
from patch_forcing.codecs.autoencoders import full_name, load_autoencoder
from tests.support.autoencoders import small_taef2

REAL = os.environ.get("PATCH_FORCING_TAEF2")
"""Where taef2.safetensors lies; without it the test of the real file is left out."""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return small_taef2(tmp_path_factory.mktemp("taef2") / "taef2.safetensors")


def conv(tensors, key, x, stride=1):
    bias = tensors.get(f"{key}.bias")
    return F.conv2d(x, tensors[f"{key}.weight"], bias, stride=stride, padding=1)


def block(tensors, key, x, pooled=False):
    if pooled:
        wide = F.conv2d(x, tensors[f"{key}.pool.0.weight"])
        norm = (tensors[f"{key}.pool.1.{name}"] for name in ("weight", "bias"))
        wide = F.relu(F.group_norm(wide, 4, *norm))
        x = x + F.conv2d(wide, tensors[f"{key}.pool.3.weight"])
    c = F.relu(conv(tensors, f"{key}.conv.0", x))
    c = F.relu(conv(tensors, f"{key}.conv.2", c))
    return F.relu(x + conv(tensors, f"{key}.conv.4", c))


def encoded(tensors, x):
    """x: in [0, 1]."""
    x = block(tensors, "encoder.1", conv(tensors, "encoder.0", x))
    for down in (2, 6, 10):
        x = conv(tensors, f"encoder.{down}", x, stride=2)
        for place in range(down + 1, down + 4):
            x = block(tensors, f"encoder.{place}", x, pooled=down == 10)
    return conv(tensors, "encoder.14", x)


def decoded(tensors, z):
    x = F.relu(conv(tensors, "decoder.1", 3 * torch.tanh(z / 3)))
    for places, pooled in ((range(3, 6), True), (range(8, 11), False), (range(13, 16), False)):
        for place in places:
            x = block(tensors, f"decoder.{place}", x, pooled)
        x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        x = conv(tensors, f"decoder.{places.stop + 1}", x)
    return conv(tensors, "decoder.19", block(tensors, "decoder.18", x))


def test_its_layers_are_those_of_the_description(file):
    tensors = {name: tensor.float() for name, tensor in load_file(file).items()}
    ours = load_autoencoder(file)
    images = torch.rand(2, 3, 16, 24) * 2 - 1
    mean, logvar = ours.encode(images)
    assert mean.shape == (2, 4, 2, 3)
    assert logvar is None
    torch.testing.assert_close(mean, encoded(tensors, (images + 1) / 2))
    z = 4 * torch.randn(2, 4, 2, 3)
    torch.testing.assert_close(ours.decode(z), decoded(tensors, z) * 2 - 1)
    assert not ours.decode(z).requires_grad


def test_its_space_is_that_of_its_encoder(file, tmp_path):
    space = load_autoencoder(str(file)).space
    assert (space.kind, space.channels, space.factor) == ("TAEF2", 4, 8)
    assert (space.scale, space.shift, space.name) == ((1.0,), (0.0,), full_name(file))
    tensors = load_file(file)
    save_file({**tensors, "decoder.19.bias": torch.ones(3).half()}, tmp_path / "a.safetensors")
    save_file({**tensors, "encoder.0.bias": torch.ones(8).half()}, tmp_path / "b.safetensors")
    assert space.mismatch(load_autoencoder(tmp_path / "a.safetensors").space) is None
    assert "hash" in space.mismatch(load_autoencoder(tmp_path / "b.safetensors").space)


def without(name):
    return lambda tensors: {key: tensor for key, tensor in tensors.items() if key != name}


def poisoned(tensors):
    return {**tensors, "encoder.0.bias": torch.full((8,), torch.nan)}


BROKEN = {
    "its first layer": (without("encoder.0.weight"), "lacks the tensor 'encoder.0.weight'"),
    "a norm": (without("decoder.4.pool.1.bias"), "lacks the tensor 'decoder.4.pool.1.bias'"),
    "a shape": (
        lambda tensors: {**tensors, "decoder.19.bias": torch.zeros(4)},
        r"'decoder.19.bias' is \[4\], not \[3\]",
    ),
    "too much": (lambda tensors: {**tensors, "x": torch.zeros(1)}, "another network, 'x'"),
    "a number": (poisoned, "'encoder.0.bias' holds NaN"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_file_of_something_else_is_one_line(file, tmp_path, what):
    change, message = BROKEN[what]
    copy = tmp_path / "copy.safetensors"
    save_file(change(load_file(file)), copy)
    with pytest.raises(pf.UserError, match=message) as error:
        load_autoencoder(copy)
    assert str(copy) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_or_cut_short(file, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(pf.UserError, match="is not there: give the file"):
        load_autoencoder(tmp_path / "taef2.safetensors")
    with pytest.raises(pf.UserError, match=r"owner/name: no such file here, and not from the Hub"):
        load_autoencoder("owner/name/taef2.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(pf.UserError, match="cannot be read"):
        load_autoencoder(cut)


@pytest.mark.skipif(REAL is None, reason="PATCH_FORCING_TAEF2 names no file")
def test_the_real_file_gives_smooth_pictures_back():
    autoencoder = load_autoencoder(str(REAL))
    assert (autoencoder.space.channels, autoencoder.space.factor) == (32, 8)
    y, x = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 64), indexing="ij")
    image = torch.stack([x, y, -(x + y) / 2])[None] / 2
    back = autoencoder.decode(autoencoder.encode(image).mean)
    assert float((back - image).square().mean()) < 10**-2.5 * 4
