"""Batches of a folder: functions of (seed, step) alone, bad samples replaced."""

import errno
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import patch_forcing as pf
from patch_forcing.data import open_images, reader
from patch_forcing.data.batch import Inferred, ReplacesBadSamples, TrainingData
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.image_data import ImageData
from patch_forcing.data.images import read_image
from patch_forcing.data.sources import FolderSource
from tests.support.image_files import encoded, fail, noise, photos
from tests.support.same_runs import same_batches


@pytest.fixture(scope="module")
def animals(tmp_path_factory):
    return photos(tmp_path_factory.mktemp("data") / "animals", {"cat": 5, "owl": 3, "yak": 4})


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory):
    """Of 40 images, 6 cannot be read."""
    root = photos(tmp_path_factory.mktemp("data") / "spoilt", {"cat": 25, "owl": 15})
    for name in SPOILT:
        (root / name).write_bytes((root / name).read_bytes()[:100])
    return root


SPOILT = ["cat/003.png", "cat/011.png", "cat/012.png", "cat/013.png", "owl/000.png", "owl/014.png"]


def opened(root, memory=None, **options):
    source = FolderSource(str(root), **options)
    data = source.open()
    return ImageData(data.layout, data.shape[1], data.shape[0], source, memory)


def as_numbers(file, size=20, channels=3):
    return torch.from_numpy(read_image(file, size, channels, "crop")).float() / 127.5 - 1


def test_a_folder_is_training_data_that_was_looked_at(animals):
    data = FolderSource(str(animals)).open()
    assert isinstance(data, TrainingData)
    assert isinstance(data, Inferred)
    assert isinstance(data, ReplacesBadSamples)
    assert data.shape == (3, 20, 20)
    assert (data.num_samples, data.num_classes) == (12, 3)
    assert data.info.class_names == ("cat", "owl", "yak")
    assert data.facts["classes"] == {"cat": 5, "owl": 3, "yak": 4}
    assert data.summary.splitlines() == [
        "12 images, 3 classes (cat 5, owl 3, yak 4), read as 20×20 in colour",
        f"from {animals}: classes by folder, no captions",
    ]


def test_an_epoch_shows_each_image_once_with_its_class(animals):
    data = opened(animals, flip=False)
    batches = [data.batch(BatchSpec(step, 4, 3)) for step in range(3)]
    images = torch.cat([batch.x_1 for batch in batches])
    labels = torch.cat([batch.condition for batch in batches])
    assert images.min() >= -1
    assert images.max() <= 1
    for name, label in zip(data.layout.names, data.layout.labels, strict=True):
        places = (images == as_numbers(animals / name)).flatten(1).all(1).nonzero()
        assert len(places) == 1
        assert labels[places[0]] == label
        step, place = divmod(int(places[0]), 4)
        assert data.sample_names(BatchSpec(step, 4, 3))[place] == str(animals / name)


def test_without_classes_there_is_no_condition(tmp_path):
    data = opened(photos(tmp_path, {"": 3}))
    assert data.num_classes == 0
    assert data.info.class_names == ()
    assert data.batch(BatchSpec(0, 4, 0)).condition is None


def test_half_of_the_images_are_mirrored_anew_each_epoch(animals):
    plain, flipping = opened(animals, flip=False), opened(animals)
    mirrored = []
    for step in range(40):
        straight, maybe = (
            plain.batch(BatchSpec(step, 12, 5)),
            flipping.batch(BatchSpec(step, 12, 5)),
        )
        assert straight.condition.equal(maybe.condition)
        turned = (maybe.x_1 == straight.x_1.flip(-1)).flatten(1).all(1)
        assert (turned | (maybe.x_1 == straight.x_1).flatten(1).all(1)).all()
        in_order = torch.empty(12, dtype=torch.bool)
        in_order[BatchSpec(step, 12, 5).sample_ids(12)] = turned
        mirrored.append(in_order)
    share = torch.stack(mirrored).float()
    assert abs(share.mean() - 0.5) < 0.1
    assert (share.mean(0) > 0.2).all()
    assert (share.mean(0) < 0.8).all()


@given(st.lists(st.integers(0, 30), max_size=4), st.integers(0, 30), st.integers(1, 17),
       st.booleans(), st.booleans(), st.integers(0, 2**62))  # fmt: skip
def test_a_batch_does_not_depend_on_what_ran_before(spoilt, before, step, batch, kept, ahead, seed):
    fresh = opened(spoilt).batch(BatchSpec(step, batch, seed))
    worn = opened(spoilt, memory=None if kept else 0)
    for earlier in [*before, *([step - 1] if ahead and step else [])]:
        worn.batch(BatchSpec(earlier, batch, seed))
    assert same_batches(fresh, worn.batch(BatchSpec(step, batch, seed)))


def test_nor_on_the_batch_size(spoilt):
    whole = opened(spoilt).batch(BatchSpec(0, 60, 1))
    parts = [opened(spoilt, memory=0).batch(BatchSpec(step, 12, 1)) for step in range(5)]
    assert whole.x_1.equal(torch.cat([part.x_1 for part in parts]))
    assert whole.condition.equal(torch.cat([part.condition for part in parts]))


def test_bad_samples_are_replaced_by_good_ones_and_named_once(spoilt):
    data = opened(spoilt, flip=False)
    good = {name: as_numbers(spoilt / name) for name in data.layout.names if name not in SPOILT}
    named, stood_in = [], Counter()
    for step in range(12):  # three epochs
        batch = data.batch(BatchSpec(step, 10, 0))
        named += data.bad_samples()
        places = zip(BatchSpec(step, 10, 0).sample_ids(40), batch.x_1, batch.condition, strict=True)
        for number, image, label in places:
            shown = next(name for name, pixels in good.items() if pixels.equal(image))
            assert data.layout.class_names[label] == shown.split("/")[0]
            wanted = data.layout.names[number]
            assert wanted in SPOILT or shown == wanted
            stood_in[shown] += wanted in SPOILT
    assert sorted(bad.path for bad in named) == sorted(str(spoilt / name) for name in SPOILT)
    assert all("runcated" in bad.reason or "broken" in bad.reason for bad in named)
    assert stood_in.total() == 18
    assert len(+stood_in) > 9  # not always the same ones


def test_each_good_image_stands_in_as_often_as_another(tmp_path):
    """Though all bad ones lie before one of them."""
    root = photos(tmp_path, {"bad": 30, "good": 10})
    for file in (root / "bad").iterdir():
        file.write_bytes(b"")
    data = opened(root, flip=False)
    shown = torch.cat([data.batch(BatchSpec(epoch, 40, 0)).x_1 for epoch in range(20)])
    good = torch.stack([as_numbers(file) for file in sorted((root / "good").iterdir())])
    times = (shown[:, None] == good).flatten(2).all(2).sum(0)
    assert times.sum() == 20 * 40
    # its own 20, and a tenth of 600, whose standard deviation is 7.3
    assert (times - 80).abs().max() < 4 * 7.3


def test_what_is_read_ahead_is_named_with_its_own_step(spoilt):
    data, seen = opened(spoilt), set()
    spoilt_paths = {str(spoilt / name) for name in SPOILT}
    for step in range(4):
        data.batch(BatchSpec(step, 10, 0))
        numbers = BatchSpec(step, 10, 0).sample_ids(40).tolist()
        here = spoilt_paths & {str(data.layout.file(number)) for number in numbers}
        named = {bad.path for bad in data.bad_samples()}
        assert named == here - seen
        seen |= named
    assert seen == spoilt_paths
    assert data.bad_samples() == []


@pytest.mark.parametrize("memory", [None, 0])
def test_an_error_that_passes_changes_nothing_and_names_nothing(spoilt, monkeypatch, memory):
    untroubled = opened(spoilt)
    expected = [untroubled.batch(BatchSpec(step, 10, 0)) for step in range(5)]
    troubled = opened(spoilt, memory)
    fails = fail(monkeypatch, errno.EIO, times=2)
    assert all(
        same_batches(troubled.batch(BatchSpec(step, 10, 0)), expected[step]) for step in range(5)
    )
    assert set(Counter(fails).values()) == {2}
    assert troubled.bad_samples() == untroubled.bad_samples()


def test_a_disk_that_fails_altogether_ends_in_an_error(spoilt, monkeypatch):
    data = opened(spoilt)
    with monkeypatch.context() as patch:
        fails = fail(patch, errno.EIO, times=4)
        with pytest.raises(pf.UserError, match=r"\.png: Input/output error, as with 9 others"):
            data.batch(BatchSpec(0, 1, 0))
    assert len(set(fails)) == 10


def test_of_one_good_image_a_whole_batch_is_made(tmp_path):
    root = photos(tmp_path, {"": 30})
    for file in sorted(root.iterdir())[1:]:
        file.write_bytes(b"")
    data = opened(root, flip=False)
    assert (data.batch(BatchSpec(0, 8, 0)).x_1 == as_numbers(root / "000.png")).all()
    assert all(bad.reason == "empty file" for bad in data.bad_samples())


def test_images_that_all_went_bad_since_end_in_an_error(tmp_path):
    data = opened(photos(tmp_path, {"": 5}))
    for file in tmp_path.iterdir():
        file.unlink()
    with pytest.raises(pf.UserError, match=r"5 images in a row cannot be read, such as .*No such"):
        data.batch(BatchSpec(0, 8, 0))


def test_a_folder_without_one_readable_image_is_no_data(tmp_path):
    (tmp_path / "a.png").write_bytes(b"text")
    with pytest.raises(pf.UserError, match=r"no image of .* can be read, such as .*a\.png: no im"):
        FolderSource(str(tmp_path)).open()


@pytest.mark.parametrize("fits", [True, False])
def test_images_are_read_once_if_memory_holds_them_all(animals, monkeypatch, fits):
    count = Counter()

    def counted(file, *how):
        count[file] += 1
        return read_image(file, *how)

    monkeypatch.setattr(reader, "read_image", counted)
    data = opened(animals, memory=12 * 3 * 20 * 20 - (not fits))
    for step in range(12):
        data.batch(BatchSpec(step, 4, 0))
    assert len(count) == 12
    assert (set(count.values()) == {1}) == fits
    assert len(data._reader._kept) == (12 if fits else 0)
    assert len(data._reader._ahead) <= 4


@pytest.mark.parametrize(
    ("sides", "size"),
    [((32, 32), 32), ((28, 28), 28), ((500, 333), 64), ((45, 90), 44), ((1, 9), 8), ((64, 99), 64)],
)
def test_the_size_is_the_median_shortest_side_at_most_64(tmp_path, sides, size):
    photos(tmp_path, {"": 3}, sides)
    (tmp_path / "tiny.png").write_bytes(encoded(noise(2, 2)))
    (tmp_path / "bad.png").write_bytes(b"")
    assert FolderSource(str(tmp_path)).open().shape == (3, size, size)
    assert FolderSource(str(tmp_path), size=12).open().shape == (3, 12, 12)


def test_grey_is_inferred_if_all_are_and_may_be_chosen(tmp_path):
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(encoded(noise(channels=1, seed=i)))
    assert FolderSource(str(tmp_path)).open().shape == (1, 20, 20)
    assert FolderSource(str(tmp_path)).open().batch(BatchSpec(0, 2, 0)).x_1.shape == (2, 1, 20, 20)
    assert FolderSource(str(tmp_path), channels=3).open().shape == (3, 20, 20)
    (tmp_path / "colour.png").write_bytes(encoded(noise()))
    assert FolderSource(str(tmp_path)).open().shape == (3, 20, 20)
    assert FolderSource(str(tmp_path), channels=1).open().shape == (1, 20, 20)


def test_of_a_large_folder_some_headers_are_looked_at_evenly(tmp_path, monkeypatch):
    photos(tmp_path, {"": 25})
    looked = []

    def watched(file):
        looked.append(file.name)
        return (40, 40), False

    monkeypatch.setattr(open_images, "MAX_HEADERS", 10)
    monkeypatch.setattr(open_images, "read_header", watched)
    assert FolderSource(str(tmp_path)).open().shape == (3, 40, 40)
    assert sorted(looked) == [f"{i:03d}.png" for i in range(0, 25, 3)]


def test_padding_shows_the_whole_image(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(np.zeros((10, 40, 3), np.uint8)))
    batch = opened(tmp_path, size=40, fit="pad").batch(BatchSpec(0, 1, 0))
    assert (batch.x_1[:, :, 15:25] == -1).all()
    assert batch.x_1.mean() == pytest.approx(0.5, abs=1e-6)


def test_a_home_folder_is_understood(tmp_path, monkeypatch):
    photos(tmp_path / "mine", {"": 1})
    monkeypatch.setenv("HOME", str(tmp_path))
    assert FolderSource("~/mine").open().num_samples == 1
