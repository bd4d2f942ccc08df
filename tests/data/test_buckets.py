"""Images of several aspects: sizes of about as many pixels, each batch of one, by arithmetic."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import patch_forcing as pf
from patch_forcing.data import aspects
from patch_forcing.data.batch import HoldsOut, Inferred, NamesSamples, ReplacesBadSamples
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.buckets import Size, bucket_sizes, crops, in_buckets, turn
from patch_forcing.data.images import read_header, read_image
from patch_forcing.data.source import SeveralSizes
from patch_forcing.data.sources import FolderSource, ShardsSource
from patch_forcing.runs.recipe import Network
from tests.support.image_files import encoded, noise, photos, shard, smooth


@given(st.integers(1, 40), st.sampled_from([4, 8, 16, 32]))
def test_sizes_have_about_as_many_pixels_and_sides_that_are_multiples(side, multiple):
    size = side * multiple
    sizes = bucket_sizes(size, multiple)
    assert Size(size, size) in sizes
    assert [(width, height) for height, width in reversed(sizes)] == sizes
    assert [one.aspect for one in sizes] == sorted({one.aspect for one in sizes})
    for height, width in sizes:
        assert height % multiple == width % multiple == 0
        assert height * width <= size**2
        assert (height + multiple) * width > size**2  # no room for one more row
        assert height * (width + multiple) > size**2
        assert max(height, width) <= 4 * min(height, width)
    if side >= 8:
        assert min(height * width for height, width in sizes) > 0.9 * size**2


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=60), st.integers(0, 9))
def test_each_image_is_of_the_nearest_size_that_enough_images_have(widths, fewest):
    sizes = bucket_sizes(64, 8)
    buckets = in_buckets(widths, sizes, fewest)
    assert sorted(np.concatenate(buckets.numbers).tolist()) == [*range(len(widths))]
    assert set(buckets.sizes) <= set(sizes)
    if len(buckets.sizes) > 1:
        assert min(map(len, buckets.numbers)) >= max(fewest, 1)
    for size, numbers in zip(buckets.sizes, buckets.numbers, strict=True):
        for number in numbers:
            distances = [abs(np.log(widths[number] / one.aspect)) for one in buckets.sizes]
            assert abs(np.log(widths[number] / size.aspect)) == pytest.approx(min(distances))


@given(st.lists(st.integers(1, 7), min_size=1, max_size=4), st.integers(1, 5), st.integers(0, 9))
def test_in_a_cycle_each_image_is_seen_as_often_as_any_other(counts, batch_size, seed):
    total, cycles = sum(counts), 3
    specs = [turn(BatchSpec(k, batch_size, seed), counts) for k in range(cycles * total)]
    for cycle in range(cycles):
        steps = Counter(bucket for bucket, _ in specs[cycle * total : (cycle + 1) * total])
        assert [steps[bucket] for bucket in range(len(counts))] == counts
    for bucket, count in enumerate(counts):
        own = [spec for one, spec in specs if one == bucket]
        assert [spec.step for spec in own] == [*range(cycles * count)]
        seen = Counter(number for spec in own for number in spec.sample_ids(count).tolist())
        assert set(seen.values()) == {cycles * batch_size}


def test_steps_of_a_size_are_spread_over_a_cycle_and_seeds_differ():
    counts = (90, 10)
    steps = [turn(BatchSpec(k, 4, 3), counts) for k in range(100)]
    places = [place for place, (bucket, _) in enumerate(steps) if bucket == 1]
    assert all(10 * k - 2 <= place <= 10 * k + 11 for k, place in enumerate(places))
    assert len({spec.seed for _, spec in steps}) == 2
    other = [turn(BatchSpec(k, 4, 4), counts)[0] for k in range(100)]
    assert other != [bucket for bucket, _ in steps]


@pytest.mark.parametrize(
    ("aspect", "size", "crop"),
    [
        (1.0, (8, 8), (0, 0, 1, 1)),
        (2.0, (8, 8), (0, 0.25, 1, 0.75)),
        (0.5, (8, 8), (0.25, 0, 0.75, 1)),
        (2.0, (8, 16), (0, 0, 1, 1)),
        (1.0, (8, 16), (0.25, 0, 0.75, 1)),
        (4.0, (8, 16), (0, 0.25, 1, 0.75)),
    ],
)
def test_a_crop_is_the_middle_of_its_picture(aspect, size, crop):
    assert crops(torch.tensor([aspect]), Size(*size)).tolist() == [list(crop)]


def test_what_is_seen_is_what_the_crop_says(tmp_path):
    (tmp_path / "x.png").write_bytes(encoded(smooth(40, 100)))
    pixels = read_image(tmp_path / "x.png", (16, 24), 3, "crop") / 255
    top, left, bottom, right = crops(torch.tensor([2.5]), Size(16, 24))[0].tolist()
    # red rises to the right, green downwards, from 0 to 1
    middles = (np.arange(24) + 0.5) / 24
    assert np.allclose(pixels[0].mean(axis=0), left + (right - left) * middles, atol=0.02)
    middles = (np.arange(16) + 0.5) / 16
    assert np.allclose(pixels[1].mean(axis=1), top + (bottom - top) * middles, atol=0.04)


def test_a_picture_taken_on_its_side_is_as_wide_as_it_is_shown(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("JPEG", "PNG"):
        file = tmp_path / f"x.{kind.lower()}"
        Image.fromarray(noise(20, 30)).save(file, kind, exif=exif)
        assert read_header(file) == ((20, 30), False)
        assert read_image(file, 20, 3, "crop").shape == (3, 20, 20)


SHAPES = {"high": (30, 20), "wide": (20, 31), "even": (24, 24)}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    for name, shape in SHAPES.items():
        photos(root, {name: 6}, shape)
    return root


def test_each_batch_is_of_one_size_and_says_where_it_is(pictures):
    data = FolderSource(str(pictures), size=16, buckets=4, flip=False).open()
    for kind in (SeveralSizes, Inferred, NamesSamples, ReplacesBadSamples, HoldsOut):
        assert isinstance(data, kind)
    assert data.sizes == ((20, 12), (16, 16), (12, 20))
    assert data.facts["buckets"] == {"20×12": 6, "16×16": 6, "12×20": 6}
    assert "; in 3 sizes instead: 20×12 6, 16×16 6, 12×20 6" in data.summary.splitlines()[0]
    assert data.shape == (3, 16, 16)
    names, shapes = {}, Counter()
    for step in range(18):
        spec = BatchSpec(step, 6, 2)
        batch = data.batch(spec)
        shapes[tuple(batch.x_1.shape[2:])] += 1
        kinds = {data.layout.class_names[label] for label in batch.condition}
        assert len(kinds) == 1
        names[kinds.pop()] = batch.crop
        files = data.sample_names(spec)
        for number, file, image in zip(data.picture_numbers(spec), files, batch.x_1, strict=True):
            assert data.layout.place(int(number)) == file
            assert data.picture(int(number)).equal(image)
        parts = [data.batch(replace(spec, places=range(k, k + 3))) for k in (0, 3)]
        assert torch.cat([part.x_1 for part in parts]).equal(batch.x_1)
        assert torch.cat([part.crop for part in parts]).equal(batch.crop)
    assert shapes == {(20, 12): 6, (16, 16): 6, (12, 20): 6}
    for kind, size in zip(("high", "even", "wide"), data.sizes, strict=True):
        height, width = SHAPES[kind]
        expected = crops(torch.tensor([width / height]), Size(*size)).expand(6, 4)
        assert torch.allclose(names[kind], expected)


def test_mirrored_pictures_are_numbered_behind_the_others(pictures):
    data = FolderSource(str(pictures), size=16, buckets=4).open()
    spec = BatchSpec(5, 12, 0)
    numbers = data.picture_numbers(spec)
    assert {number >= 18 for number in numbers.tolist()} == {True, False}
    for number, image in zip(numbers.tolist(), data.batch(spec).x_1, strict=True):
        assert data.picture(number).equal(image)


def test_examples_are_of_one_size_and_know_their_place(pictures):
    data = FolderSource(str(pictures), size=16, buckets=4, held_out=0.4).open()
    held, seen = data.examples(9)
    assert held.batch.x_1.shape[1:] == seen.batch.x_1.shape[1:]
    assert held.batch.crop.shape == (len(held.ids), 4)
    again = data.in_recorded_order(["wide", "high", "even"])
    assert again.layout.class_names == ("wide", "high", "even")
    assert again.facts["buckets"] == data.facts["buckets"]


def test_a_bad_image_is_replaced_by_one_of_its_size(tmp_path):
    photos(tmp_path, {"": 5}, (30, 20))
    photos(tmp_path / "more", {"": 5}, (20, 31))
    (tmp_path / "more" / "broken.png").write_bytes(encoded(noise(20, 31))[:-30])
    (tmp_path / "more" / "none.png").write_bytes(b"nothing")
    data = FolderSource(str(tmp_path), size=16, buckets=4, depth=0, max_bad_share=1.0).open()
    bad = set()
    for step in range(12):
        shape = data.batch(BatchSpec(step, 12, 0)).x_1.shape[2:]
        assert tuple(shape) in data.sizes
        bad |= {file.path.rpartition("/")[2] for file in data.bad_samples()}
    assert bad == {"broken.png", "none.png"}


def test_headers_are_read_once_until_a_file_changes(pictures, tmp_path, monkeypatch):
    looked = []

    def counted(file):
        looked.append(file)
        return read_header(file)

    monkeypatch.setenv("PATCH_FORCING_CACHE", str(tmp_path))
    monkeypatch.setattr(aspects, "read_header", counted)
    source = FolderSource(str(pictures), size=16, buckets=4)
    first = source.open().layout.aspects
    assert len(looked) == 18
    assert list(source.open().layout.aspects) == list(first)
    assert len(looked) == 18
    (file,) = (tmp_path / "aspects").iterdir()
    for broken in ("[1]", "{", "null", json.dumps([0.0] * 18)):
        file.write_text(broken)
        assert list(source.open().layout.aspects) == list(first)
    (pictures / "even" / "000.png").write_bytes(encoded(noise(24, 24, seed=99)))
    assert len(looked) == 18 * 5
    source.open()
    assert len(looked) == 18 * 6


def test_shards_have_sizes_too(tmp_path):
    members = {f"{n}.png": encoded(noise(20 + 12 * (n % 2), 24, seed=n)) for n in range(10)}
    shard(tmp_path / "x.tar", members)
    data = ShardsSource(path=str(tmp_path), size=16, buckets=4).open()
    assert data.facts["buckets"] == {"20×12": 5, "16×16": 5}


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"buckets": 0}, r"data.buckets=0 is out of range"),
        ({"buckets": 6}, "data.buckets=6 does not divide data.size=16"),
        ({"buckets": 4, "fit": "pad"}, "data.fit=pad with data.buckets=4"),
    ],
)
def test_what_does_not_fit_is_one_line(pictures, how, message):
    with pytest.raises(pf.UserError, match=message):
        FolderSource(str(pictures), size=16, **how).open()


def test_the_network_has_to_take_all_sizes(pictures):
    data = FolderSource(str(pictures), size=16, buckets=4).open()
    network = Network(4, 16, 1, 2, position="rope")
    assert network.config(data).image_size == (16, 16)
    with pytest.raises(pf.UserError, match=r"add --network.position rope"):
        replace(network, position="sincos").config(data)
    with pytest.raises(pf.UserError, match=r"images of 20×12, which patches of 8 do not tile"):
        replace(network, patch_size=8).config(data)
