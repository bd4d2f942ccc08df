"""Latents on disk as training data."""

import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import patch_forcing as pf
from patch_forcing.data.batch import Numbered
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.latent_shards import INDEX, PLAN
from patch_forcing.data.sources import FolderSource, LatentsSource
from patch_forcing.io.ledger import shard_path
from patch_forcing.models.latent_scale import raw
from tests.support.image_files import photos
from tests.support.latents import SHAPE, SIZES, SPACE, telling_latents


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return telling_latents(tmp_path_factory.mktemp("latents"))


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def poison(folder, shard, row, value=np.inf, names=("latents", "mirrored")):
    """In place, as a program that knows nothing of checksums would."""
    for name in names:
        array = np.load(shard_path(folder, shard) / f"{name}.npy", mmap_mode="r+")
        array[row, 1, 0, 2] = value
        array.flush()


def numbers_of(batch):
    """Which samples, and which of them are mirrored; the posterior's spread must be nothing."""
    stored = (batch.x_1 / 0.5 + 1).round()
    assert torch.equal(stored[:, 0] + 50, stored[:, 1])
    assert torch.equal(stored[:, :1, :1, :1].expand_as(stored[:, :1]), stored[:, :1])
    whole = stored[:, 0, 0, 0].long()
    return whole % 100, whole >= 100


def test_an_epoch_shows_every_latent_once_with_its_label_half_of_them_mirrored(folder):
    data = LatentsSource(str(folder)).open()
    assert (data.shape, data.num_samples, data.num_classes) == (SHAPE, 12, 3)
    assert (data.info.autoencoder, data.info.latent_scale) == (SPACE, 0.5)
    seen, mirrors = [], 0
    for step in range(40):
        batch = data.batch(BatchSpec(step, 3, 4))
        numbers, mirrored = numbers_of(batch)
        assert torch.equal(batch.condition, numbers % 3)
        seen += numbers.tolist()
        mirrors += int(mirrored.sum())
    epochs = [seen[i : i + 12] for i in range(0, 120, 12)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 10
    assert 40 < mirrors < 80  # 3.6 standard deviations of 120 throws


@settings(max_examples=10)
@given(st.integers(0, 2**40), st.integers(1, 9), st.integers(1, 3), st.integers(0, 9))
def test_a_batch_is_a_function_of_its_step_and_shared_by_ranks(
    folder_of_spread, step, size, world, seed
):
    size = max(size, world)
    data = LatentsSource(str(folder_of_spread)).open()
    whole = data.batch(BatchSpec(step, size, seed))
    data.batch(BatchSpec(step + 7, size, seed))
    again = LatentsSource(str(folder_of_spread)).open().batch(BatchSpec(step, size, seed))
    assert torch.equal(whole.x_1, again.x_1)
    parts = [data.batch(BatchSpec(step, size, seed).share(rank, world)) for rank in range(world)]
    torch.testing.assert_close(torch.cat([part.x_1 for part in parts]), whole.x_1)
    assert torch.equal(torch.cat([part.condition for part in parts]), whole.condition)


@pytest.fixture(scope="module")
def folder_of_spread(tmp_path_factory):
    return telling_latents(tmp_path_factory.mktemp("spread"), spread=np.log(9))


def test_latents_are_drawn_from_their_posterior_anew_each_epoch(folder_of_spread):
    data = LatentsSource(str(folder_of_spread)).open()
    mean = LatentsSource(str(folder_of_spread), sample_posterior=False).open()
    noise = torch.cat(
        [
            data.batch(BatchSpec(s, 12, 0)).x_1 - mean.batch(BatchSpec(s, 12, 0)).x_1
            for s in range(50)
        ]
    )
    noise = noise / (0.5 * 3)  # scale · exp(logvar / 2)
    count = noise.numel()  # 7200
    assert abs(float(noise.mean())) < 4 / count**0.5
    assert abs(float(noise.var()) - 1) < 4 * (2 / count) ** 0.5
    assert len(noise.flatten(1).unique(dim=0)) == 600


def test_without_log_variances_mirrors_or_classes(tmp_path):
    folder = telling_latents(tmp_path, logvar=False, mirrored=False, classes=())
    with pytest.raises(pf.UserError, match=r"no mirrored images: add --data.no-flip"):
        LatentsSource(str(folder)).open()
    data = LatentsSource(str(folder), flip=False).open()
    batch = data.batch(BatchSpec(0, 12, 0))
    assert batch.condition is None
    assert sorted(numbers_of(batch)[0].tolist()) == list(range(12))


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_latents_that_are_not_finite_are_replaced_named_once_and_counted(copy, value):
    poison(copy, 2, 3, value)
    data = LatentsSource(str(copy)).open()
    replaced = []
    for step in range(8):
        numbers, _ = numbers_of(data.batch(BatchSpec(step, 12, 0)))
        assert 9 not in numbers
        replaced.append(sorted(numbers.tolist()))
    (bad,) = data.bad_samples()
    assert bad.path == f"{shard_path(copy, 2)}[3]"
    assert "not finite" in bad.reason
    assert len(set(map(tuple, replaced))) > 1  # not always the same one in its place
    assert data.bad_samples() == []
    assert f"{shard_path(copy, 2)}[3]" in data.sample_names(BatchSpec(0, 12, 0))


def test_latents_none_of_which_is_finite_are_no_data(copy):
    for shard, size in enumerate(SIZES):
        poison(copy, shard, slice(size))
    with pytest.raises(pf.UserError, match=r"in a row cannot be read, .* encode .* again"):
        LatentsSource(str(copy)).open().batch(BatchSpec(0, 2, 0))


def cut(file):
    file.write_bytes(file.read_bytes()[:-2])


def edit(folder, **changes):
    index = json.loads((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps({**index, **changes}))


def reverse(folder):
    """Right in length, wrong in content."""
    file = shard_path(folder, 0) / "labels.npy"
    data = file.read_bytes()
    file.write_bytes(data[:128] + b"\xff" * (len(data) - 128))


DAMAGE = {
    "no index": (lambda f: (f / INDEX).unlink(), "holds no latents"),
    "not finished": (lambda f: (f / INDEX).rename(f / PLAN), "not complete: start the same"),
    "index": (lambda f: (f / INDEX).write_text("{"), "latents.json is damaged"),
    "version": (lambda f: edit(f, format_version=9), "of another release"),
    "space": (lambda f: edit(f, autoencoder={**vars(SPACE), "channels": 0}), "channels=0"),
    "a shard": (lambda f: shutil.rmtree(shard_path(f, 1)), "is damaged"),
    "cut short": (lambda f: cut(shard_path(f, 2) / "mirrored.npy"), "as long as it was written"),
    "other shape": (lambda f: edit(f, shape=[2, 3, 2]), "not fp16 of"),
    "other size": (lambda f: edit(f, images=13), "holds 12 latents, not 13"),
    "fewer classes": (lambda f: edit(f, class_names=["a"]), "no label of 1 for"),
    "labels": (reverse, "no label of 3 for"),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGE)
def test_what_is_damaged_is_one_line(copy, what):
    damage, message = DAMAGE[what]
    damage(copy)
    with pytest.raises(pf.UserError, match=message) as error:
        LatentsSource(str(copy)).open()
    assert "\n" not in str(error.value)


def test_a_bit_that_fell_over_is_found_when_asked_for(copy):
    poison(copy, 0, 0, 7.0, names=("latents",))
    LatentsSource(str(copy)).open()
    LatentsSource(str(copy.parent / "copy")).open()
    with pytest.raises(pf.UserError, match=r"shard-00000/latents.npy is damaged"):
        LatentsSource(str(copy), verify=True).open()


def test_images_are_no_latents_and_the_mend_is_said(tmp_path):
    photos(tmp_path / "images", {"": 2})
    with pytest.raises(pf.UserError, match="holds no latents: make them with patch-forcing encode"):
        LatentsSource(str(tmp_path / "images")).open()
    with pytest.raises(pf.UserError, match="is not there"):
        LatentsSource(str(tmp_path / "nothing")).open()
    with pytest.raises(pf.UserError, match=r"data\.path is not given"):
        LatentsSource().open()
    with pytest.raises(pf.UserError, match="max_bad_share=2"):
        LatentsSource(max_bad_share=2)
    assert FolderSource(str(tmp_path / "images")).open().num_samples == 2


@pytest.mark.parametrize("flip", [True, False])
def test_numbers_of_pictures_are_those_that_stand_in_the_batch(copy, flip):
    poison(copy, 2, 3)  # the ninth, of twelve
    source = LatentsSource(str(copy), flip=flip, sample_posterior=False, max_bad_share=1)
    data, total = source.open(), sum(SIZES)
    assert isinstance(data, Numbered)
    assert data.num_pictures == total * (1 + flip)
    for step in range(5):
        seen = raw(SPACE, data.batch(BatchSpec(step, 7, 0)).x_1)[:, 0, 0, 0].round().long()
        numbers = data.picture_numbers(BatchSpec(step, 7, 0))
        assert seen.equal(numbers % total + 100 * (numbers // total))
        assert 9 not in numbers % total
        assert source.open().picture_numbers(BatchSpec(step, 7, 0)).equal(numbers)
        part = source.open().picture_numbers(BatchSpec(step, 7, 0, range(3, 7)))
        assert part.equal(numbers[3:])
