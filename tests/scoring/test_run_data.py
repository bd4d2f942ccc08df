"""What a run held out is a reference, and what it was trained on may have been copied."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import patch_forcing as pf
from patch_forcing.data.sources import Digits, FolderSource
from patch_forcing.io.run_layout import checkpoint_path
from patch_forcing.runs.run_folder import open_run
from patch_forcing.scoring.reference import find_reference, training_images
from patch_forcing.scoring.run_data import trained_on
from tests.support.tiny import TINY

COUNT = 48


@pytest.fixture
def photos(tmp_path):
    """Two classes of 24 images."""
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, 8, 8, 3), np.uint8)
    for number, image in enumerate(pixels):
        place = tmp_path / "photos" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{number:02}.png")
    return tmp_path / "photos"


def begin(run, source):
    """A run on that data which got to a checkpoint."""
    opened = source.open()
    open_run(run, "folder", replace(TINY, data=source), getattr(opened, "facts", None))
    checkpoint_path(run, 2).mkdir(parents=True)
    return opened


def test_the_images_that_a_run_held_out_are_its_reference(tmp_path, photos):
    run, source = tmp_path / "run", FolderSource(path=str(photos), held_out=0.3)
    opened = begin(run, source)
    held, trained = find_reference(str(run), (16, 16)).images, training_images(run, (16, 16))
    assert 0 < held.count == len(opened.held_out.names)
    assert held.count + trained.count == COUNT
    assert set(opened.held_out.names).isdisjoint(opened.layout.names)
    assert set(held.labels) == {"a", "b"}
    assert held.batch(slice(0, 2)).shape == (2, 3, 16, 16)
    seen = pf.evaluate(photos / "a", run, features=["emoji"], metrics=["fd"], train=run)
    assert seen.record["reference"] | {"hash": ""} == {
        "name": str(run), "kind": "images", "n": held.count, "hash": "", "resize":
        seen.record["reference"]["resize"],
    }  # fmt: skip
    row = seen.record["results"][0]["train"]
    assert (row["n"], row["reference_images_among_them"]) == (trained.count, 0)


def test_a_run_is_held_against_what_it_was_trained_on(tmp_path, photos):
    run = tmp_path / "run"
    begin(run, FolderSource(path=str(photos)))
    assert trained_on(run, f"{photos}/../photos")
    assert not trained_on(run, str(photos / "a"))
    assert not trained_on(photos, str(photos))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _: Digits(), "was trained on digits, of which nothing is held out: give"),
        (lambda path: FolderSource(path=path), "data.held_out=0, on all of its images: give"),
        (lambda path: FolderSource(path=path, held_out=None), "no image out, since it has so few"),
        (lambda path: FolderSource(path=path, held_out=0.3, fit="pad"), "with data.fit=pad"),
    ],
)
def test_a_run_that_holds_nothing_out_is_no_reference(tmp_path, photos, make, message):
    begin(tmp_path / "run", make(str(photos)))
    with pytest.raises(pf.UserError, match=message):
        find_reference(str(tmp_path / "run"), (8, 8))


def test_images_that_changed_since_are_no_reference(tmp_path, photos):
    run = tmp_path / "run"
    begin(run, FolderSource(path=str(photos), held_out=0.3))
    whole = find_reference(str(run), (8, 8)).images.count
    for name in ("new", "newer", "newest"):
        Image.new("RGB", (8, 8)).save(photos / "a" / f"{name}.png")
    with pytest.raises(pf.UserError, match="photos were added, removed or replaced since"):
        find_reference(str(run), (8, 8))
    for file in photos.glob("a/new*"):
        file.unlink()
    assert find_reference(str(run), (8, 8)).images.count == whole
    photos.rename(tmp_path / "moved")
    with pytest.raises(pf.UserError, match=r"run.json: .*photos is not there"):
        find_reference(str(run), (8, 8))
