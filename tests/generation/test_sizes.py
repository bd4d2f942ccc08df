"""A model of rotary positions makes images of other sizes than those of its training."""

import json

import pytest
from PIL import Image

import patch_forcing as pf
from patch_forcing.cli.main import run
from patch_forcing.generation.request import SampleRequest
from patch_forcing.models.config import DataInfo
from patch_forcing.models.latent_space import LatentSpace
from tests.support.exact import tiny_dit

HOW = {"num_steps": 2, "seeds": [3, 4]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    tiny_dit(position="rope").save(folder / "rope")
    tiny_dit().save(folder / "fixed")
    return folder


@pytest.fixture(scope="module")
def pipe(folder):
    return pf.load(folder / "rope")


def test_images_have_the_size_that_is_given(pipe):
    height, width = pipe.image_shape[1:]
    own = pipe(**HOW)
    assert pipe(size=(height, width), **HOW).pixels.equal(own.pixels)
    wide = pipe(size=(height, 2 * width), trace=True, **HOW)
    assert [image.size for image in wide.images] == [(2 * width, height)] * 2
    patches = 2 * pipe.model.config.num_patches
    assert wide.trace[0].t.shape == (2, patches)
    assert wide.maps().width > own.sheet().width
    alone = pipe(size=[height, 2 * width], num_steps=2, seeds=[4])
    assert (alone.pixels[0].int() - wide.pixels[1].int()).abs().max() <= 1
    assert wide.sampling.record()["size"] == (height, 2 * width)
    assert "size" not in own.sampling.record()


@pytest.mark.parametrize("sampler", ["dual-loop:evaluate=moving", "look-ahead"])
def test_adaptive_samplers_and_guidance_take_it_too(pipe, sampler):
    height, width = pipe.image_shape[1:]
    result = pipe(size=(2 * height, width), sampler=sampler, guidance_scale=2.0, labels=[1], nfe=30)
    assert result.images[0].size == (width, 2 * height)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((5, 8), r"size 5x8 for .*rope: choose sides that are multiples of 2"),
        ((0, 8), "size=0 is out of range"),
        ((8, 8, 8), "give height and width"),
    ],
)
def test_what_is_no_size_is_one_line(pipe, size, message):
    with pytest.raises(pf.UserError, match=message):
        pipe(size=size, **HOW)


def test_fixed_positions_have_one_size(folder):
    pipe = pf.load(folder / "fixed")
    own = pipe.image_shape[1:]
    assert pipe(size=own, **HOW).pixels.equal(pipe(**HOW).pixels)
    with pytest.raises(pf.UserError, match=r"fixed positions, and makes .*--network.position rope"):
        pipe(size=(16, 32), **HOW)


def test_an_edit_has_the_size_of_its_image(pipe):
    image = pipe(num_steps=1, seeds=[0]).images[0]
    with pytest.raises(pf.UserError, match=r"size .* of an edit"):
        pipe.edit(image, strength=0.5, seeds=[0], size=(8, 16), num_steps=1)


def test_of_latents_sizes_are_those_of_images():
    space = LatentSpace("vae", "x", "", channels=4, factor=8)
    model = tiny_dit(position="rope", in_channels=4)
    model.data_info = DataInfo.of_latents(space)
    request = SampleRequest(size=(64, 160))
    assert request.resolve(model).cells == (8, 20)
    with pytest.raises(pf.UserError, match="multiples of 16"):
        SampleRequest(size=(64, 72)).resolve(model)


def test_the_command_takes_a_size(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["sample", str(folder / "rope"), "--steps", "1", "--labels", "1"]
    run([*command, "--size", "8,16", "--count", "2", "--maps", "--film", "--npz", "a.npz"])
    rows = json.loads((tmp_path / "samples" / "samples.json").read_text())
    assert [row["size"] for row in rows] == [[8, 16]] * 2
    assert rows[0]["token_evaluations"] == rows[0]["nfe"] * 32
    run([*command, "--size", "8,16", "--seeds", "1"])
    (tmp_path / "samples" / "1.png").rename(tmp_path / "alone.png")
    run(["sample", "--like", "alone.png", "--out", "again"])
    again, alone = (tmp_path / name for name in ("again/1.png", "alone.png"))
    assert Image.open(again).tobytes() == Image.open(alone).tobytes()
    run([*command, "--size", "16", "8"])
    rows = json.loads((tmp_path / "samples" / "samples.json").read_text())
    assert rows[0]["size"] == [16, 8]
    with pytest.raises(pf.UserError, match=r"size 3x8 for .*: choose sides that are multiples"):
        run([*command, "--size", "3,8"])
