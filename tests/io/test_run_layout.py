"""Where a run keeps its checkpoints, and which of them is taken."""

import logging

import pytest

import patch_forcing as pf
from patch_forcing.io.atomic import write_manifest
from patch_forcing.io.run_layout import (
    checkpoint_path,
    checkpoint_step,
    checkpoints,
    is_run_folder,
    newest_sound,
)


def written(run, *steps):
    for step in steps:
        folder = checkpoint_path(run, step)
        folder.mkdir(parents=True)
        (folder / "weights").write_text(f"of {step}")
        write_manifest(folder)


def test_checkpoints_come_by_step_and_nothing_else_counts_as_one(tmp_path):
    written(tmp_path, 20, 3, 123_456_789)  # more digits than names are filled up to
    for other in ("step-12", "step-abcdefgh", ".partial-step-00000004", "best"):
        (tmp_path / "checkpoints" / other).mkdir()
    assert [checkpoint_step(path) for path in checkpoints(tmp_path)] == [3, 20, 123_456_789]


def test_a_damaged_checkpoint_is_passed_over_and_named(tmp_path, caplog):
    assert newest_sound(tmp_path) is None
    written(tmp_path, 1, 2)
    damaged = checkpoint_path(tmp_path, 2) / "weights"
    damaged.write_text("of 3")
    with caplog.at_level(logging.WARNING, "patch_forcing"):
        assert newest_sound(tmp_path) == checkpoint_path(tmp_path, 1)
    assert [record.args[0] for record in caplog.records] == [damaged]
    (checkpoint_path(tmp_path, 1) / "weights").unlink()
    with pytest.raises(pf.UserError, match=r"so is every checkpoint of .*: restore one"):
        newest_sound(tmp_path)


def test_a_run_is_known_by_its_record(tmp_path):
    assert not is_run_folder(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    assert is_run_folder(tmp_path)
