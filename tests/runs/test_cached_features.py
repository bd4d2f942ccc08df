"""Features kept for alignment are those made on the fly; of something else they are refused."""

import dataclasses

import numpy as np
import pytest
import torch

import patch_forcing as pf
from patch_forcing.data.batch import Pictured, TensorData
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.sources import EmojiSource, FolderSource
from patch_forcing.distributed.ranks import Ranks
from patch_forcing.models.config import DataInfo
from patch_forcing.runs.alignment import cache_features, open_alignment, unit_features
from patch_forcing.runs.trainer import train
from tests.support.emoji_font import write_atlas
from tests.support.feature_networks import changed, encoder_of
from tests.support.image_files import photos
from tests.support.same_runs import losses


def test_cached_features_are_those_made_on_the_fly(repa, tmp_path):
    cached = changed(repa, cache=str(tmp_path / "cache"))
    train("digits", cached, tmp_path / "cached", progress=False, encoder=encoder_of())
    train("digits", repa, tmp_path / "fly", progress=False, encoder=encoder_of())
    for (_, one), (_, other) in zip(
        losses(tmp_path / "cached"), losses(tmp_path / "fly"), strict=True
    ):
        assert one == pytest.approx(other, rel=1e-4)
    files = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "cache").iterdir()}
    assert files.keys() == {"features.json", "features.npy"}
    train("digits", cached, tmp_path / "again", progress=False, encoder=encoder_of())
    assert files == {file.name: file.stat().st_mtime_ns for file in (tmp_path / "cache").iterdir()}
    assert losses(tmp_path / "again") == losses(tmp_path / "cached")


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    """Of 23 images, one cannot be read."""
    root = photos(tmp_path_factory.mktemp("pets") / "pets", {"cat": 15, "owl": 8})
    (root / "cat/003.png").write_bytes(b"no image")
    return root


@pytest.mark.parametrize("flip", [True, False])
def test_mirrored_and_replaced_images_find_their_own_features(repa, pets, tmp_path, flip):
    source = FolderSource(flip=flip, path=str(pets), size=16, max_bad_share=1)
    recipe = dataclasses.replace(changed(repa, cache=str(tmp_path / "cache")), data=source)
    data, encoder = source.open(), encoder_of()
    assert isinstance(data, Pictured)
    cached = open_alignment(recipe, data, "cpu", Ranks(), encoder)
    assert np.load(tmp_path / "cache/features.npy").shape == (23 * (1 + flip), 16, 6)
    for step in (0, 1, 4, 7):
        batch = data.batch(BatchSpec(step, 8, 0))
        expected = unit_features(encoder, batch.x_1, (4, 4))
        torch.testing.assert_close(cached.inputs(batch, step), expected, atol=1e-3, rtol=0)
        # whatever was read before, and of a rank's share
        other = source.open()
        assert other.picture_numbers(BatchSpec(step, 8, 0)).equal(
            data.picture_numbers(BatchSpec(step, 8, 0))
        )
        half = other.picture_numbers(BatchSpec(step, 8, 0, range(4, 8)))
        assert half.equal(data.picture_numbers(BatchSpec(step, 8, 0))[4:])
    rows = np.load(tmp_path / "cache/features.npy")
    bad = data.layout.names.index("cat/003.png")
    lost = [bad, 23 + bad] if flip else [bad]
    assert np.flatnonzero(np.isnan(rows).any((1, 2))).tolist() == lost


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("encoder", "encoder 'conv 0', this run has 'conv 1'"),
        ("data", "data '"),
        ("grid", "rows 2, this run has 4"),
        ("flip", "data '"),
    ],
)
def test_a_cache_of_something_else_is_refused_in_one_line(repa, pets, tmp_path, what, message):
    def recipe(data=None, patch=4):
        network = dataclasses.replace(repa.network, patch_size=patch)
        cached = changed(repa, cache=str(tmp_path / "cache"))
        return dataclasses.replace(cached, network=network, data=data or repa.data)

    folder = FolderSource(path=str(pets), size=8)
    first, second, encoder = recipe(), recipe(), encoder_of(int(what == "encoder"))
    if what == "data":
        second = recipe(folder)
    if what == "grid":
        second = recipe(patch=2)
    if what == "flip":
        first, second = recipe(folder), recipe(dataclasses.replace(folder, flip=False))
    open_alignment(first, first.data.open(), "cpu", Ranks(), encoder_of())
    with pytest.raises(pf.UserError, match=message) as error:
        open_alignment(second, second.data.open(), "cpu", Ranks(), encoder)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "bytes_", "message"),
    [
        ("features.json", b"{", "features.json is missing or damaged"),
        ("features.json", b"[]", "features.json is missing or damaged"),
        ("features.npy", b"", "features.npy cannot be read"),
        ("features.npy", b"\x80\x04.", "features.npy cannot be read"),
    ],
)
def test_a_damaged_cache_is_refused(repa, tmp_path, name, bytes_, message):
    cached = changed(repa, cache=str(tmp_path / "cache"))
    data = repa.data.open()
    open_alignment(cached, data, "cpu", Ranks(), encoder_of())
    (tmp_path / "cache" / name).write_bytes(bytes_)
    with pytest.raises(pf.UserError, match=message):
        open_alignment(cached, data, "cpu", Ranks(), encoder_of())


def test_a_cut_cache_is_refused(repa, tmp_path):
    cached, file = changed(repa, cache=str(tmp_path / "cache")), tmp_path / "cache/features.npy"
    data = repa.data.open()
    open_alignment(cached, data, "cpu", Ranks(), encoder_of())
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(pf.UserError, match="cannot be read"):
        open_alignment(cached, data, "cpu", Ranks(), encoder_of())


def test_latents_are_aligned_with_features_of_their_images(repa, tmp_path):
    digits = repa.data.open()
    latents = torch.randn(len(digits.images), 4, 8, 8)

    class Source:
        def open(self):
            return TensorData(latents, digits.labels, 10, DataInfo())

    recipe = dataclasses.replace(repa, data=Source())
    with pytest.raises(pf.UserError, match=r"4 channels are latents.*--alignment\.cache"):
        open_alignment(recipe, Source().open(), "cpu", Ranks())
    folder, data = tmp_path / "cache", Source().open()
    cache_features(folder, encoder_of(), (2, 2), digits, identity=data.identity)
    result = open_alignment(changed(recipe, cache=str(folder)), data, "cpu", Ranks(), encoder_of())
    of_images = open_alignment(repa, digits, "cpu", Ranks(), encoder_of())
    expected = of_images.inputs(digits.batch(BatchSpec(2, 8, 0)), 2)
    assert result.inputs(data.batch(BatchSpec(2, 8, 0)), 2).equal(expected)


def test_features_that_are_not_finite_are_not_cached(repa, tmp_path):
    encoder = encoder_of()
    encoder.module.weight.fill_(torch.inf)
    cached = changed(repa, cache=str(tmp_path / "cache"))
    with pytest.raises(pf.UserError, match="not finite"):
        open_alignment(cached, repa.data.open(), "cpu", Ranks(), encoder)
    assert list(tmp_path.iterdir()) == []


def test_endless_data_have_no_cache(repa, tmp_path):
    atlas = write_atlas(tmp_path / "atlas")
    recipe = dataclasses.replace(changed(repa, cache="cache"), data=EmojiSource(str(atlas)))
    with pytest.raises(pf.UserError, match="these data have no end, and no cache"):
        open_alignment(recipe, recipe.data.open(), "cpu", Ranks(), encoder_of())
