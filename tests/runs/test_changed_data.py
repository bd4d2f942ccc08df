"""The images of a run may move; that others were added or removed has to be allowed."""

import dataclasses
import json
import shutil

import pytest

import patch_forcing as pf
from patch_forcing.data.sources import FolderSource
from patch_forcing.runs.changed_data import check_facts, may_have_moved
from patch_forcing.runs.trainer import train
from tests.support.image_files import encoded, noise, photos
from tests.support.same_runs import assert_same


@pytest.fixture
def pets(tmp_path):
    return photos(tmp_path / "pets", {"cat": 4, "owl": 4}, size=(8, 8))


@pytest.fixture
def begun(recipe, pets, tmp_path):
    """A run of half of the steps, and what goes on with it on images of a folder."""
    source = FolderSource(str(pets), held_out=0.3)
    whole = dataclasses.replace(recipe, data=source, steps=4, snapshot_every=0)
    half = dataclasses.replace(whole, steps=2)
    train("folder", half, tmp_path / "run", progress=False)

    def go_on(root, **how):
        moved = dataclasses.replace(whole, data=dataclasses.replace(source, path=str(root)))
        return train("folder", moved, tmp_path / "run", progress=False, **how)

    go_on.recipe, go_on.run = whole, tmp_path / "run"
    return go_on


def record(run):
    return json.loads((run / "run.json").read_text())


def test_the_same_images_elsewhere_go_on_bit_for_bit(begun, pets, tmp_path):
    whole = train("folder", begun.recipe, tmp_path / "whole", progress=False)
    shutil.move(pets, tmp_path / "moved")
    parts = begun(tmp_path / "moved")
    assert parts.steps_before == 2
    assert_same(whole.checkpoint, parts.checkpoint)
    assert record(begun.run)["recipe"]["data"]["path"] == str(tmp_path / "moved")


def test_other_images_of_the_same_names_are_refused(begun, tmp_path):
    others = photos(tmp_path / "others", {"owl": 4, "cat": 4}, size=(8, 8))
    with pytest.raises(pf.UserError, match=r"found\.contents was .*: put back what was there"):
        begun(others)


def test_a_run_that_recorded_no_contents_stays_where_it_is(begun, pets, tmp_path):
    before = record(begun.run)
    del before["found"]["contents"]
    (begun.run / "run.json").write_text(json.dumps(before))
    shutil.copytree(pets, tmp_path / "copy")
    with pytest.raises(pf.UserError, match=r"data\.path"):
        begun(tmp_path / "copy")
    assert begun(pets).steps == 4


def test_added_and_removed_images_are_refused_unless_allowed_and_recorded(begun, pets, caplog):
    (pets / "cat" / "new.png").write_bytes(encoded(noise(30, 30)))  # a larger one, too
    (pets / "owl" / "000.png").unlink()
    with pytest.raises(pf.UserError, match=r"since .*run began: found\.\w+.* --allow-changed-data"):
        begun(pets)
    assert begun(pets, allow_changed_data=True).steps == 4
    assert "from step 2 on this is not bitwise the run that began" in caplog.text
    (change,) = record(begun.run)["changed_data"]
    assert change["step"] == 2
    assert "names" in change
    assert record(begun.run)["found"]["size"] == 8
    train("folder", dataclasses.replace(begun.recipe, steps=5), begun.run, progress=False)
    assert record(begun.run)["changed_data"] == [change]


def test_a_class_that_lost_its_images_keeps_its_number(begun, pets):
    shutil.rmtree(pets / "cat")
    begun(pets, allow_changed_data=True)
    classes = record(begun.run)["found"]["classes"]
    assert list(classes) == ["cat", "owl"]
    assert classes["cat"] == 0


def test_a_new_class_is_refused_with_what_to_do(begun, pets):
    photos(pets, {"ape": 1}, size=(8, 8))
    with pytest.raises(pf.UserError, match=r"^ape is no class of .*run, .* --init-from .*run$"):
        begun(pets, allow_changed_data=True)


def test_images_that_lie_in_no_folders_any_more_are_refused(begun, tmp_path):
    flat = photos(tmp_path / "flat", {"": 8}, size=(8, 8))
    with pytest.raises(
        pf.UserError, match=r"found\.classes\.\w+ was \d.* only images may be added"
    ):
        begun(flat, allow_changed_data=True)


THEN = {"found.images": 3, "found.names": "a", "found.size": 8, "found.classes.cat": 3}


def test_what_may_differ_is_that_of_images_alone(tmp_path):
    assert check_facts(tmp_path, THEN, {**THEN, "found.contents": "x"}, allow=False) == {}
    more = {**THEN, "found.images": 4, "found.classes.cat": 4}
    changes = check_facts(tmp_path, THEN, more, allow=True)
    assert changes == {"images": [3, 4], "classes.cat": [3, 4]}
    with pytest.raises(pf.UserError, match=r"found\.size was 8, now it is 16: only images"):
        check_facts(tmp_path, THEN, {**THEN, "found.size": 16}, allow=True)


def test_data_are_known_elsewhere_by_their_contents():
    assert may_have_moved({"found.latents": "a"}, {"found.latents": "b"})
    assert not may_have_moved({"found.names": "a"}, {"found.names": "a", "found.contents": "b"})
