"""What run.json and the files of lines hold, for a new run, one that goes on, and after damage."""

import dataclasses
import json
import math
import resource

import pytest

from patch_forcing.core.errors import UserError
from patch_forcing.io.run_layout import RUN, checkpoint_path
from patch_forcing.io.run_record import read_record
from patch_forcing.runs.run_folder import (
    LOCK,
    Changes,
    StepLines,
    one_training,
    open_run,
    rows_until,
)
from tests.support.tiny import TINY

FACTS = {"images": 3, "size": 8, "classes": {"cat": 1, "owl": 2}}


@pytest.fixture
def begun(tmp_path):
    """A run that got to step 2 and then to step 4."""
    open_run(tmp_path, "digits", TINY, FACTS, "a model", {"model": "a model", "hash": "x"})
    for step in (2, 4):
        checkpoint_path(tmp_path, step).mkdir(parents=True)
    return tmp_path


def go_on(run, recipe=TINY, *, name="digits", facts=FACTS, model="a model", **how):
    open_run(run, name, recipe, facts, model, **how)
    return read_record(run)


def test_a_new_run_is_recorded_with_what_it_is_made_of_and_by(begun, tmp_path):
    record = read_record(begun)
    assert list(record) == ["name", "recipe", "found", "init_from", "versions", "commit"]
    assert (record["name"], record["found"]) == ("digits", FACTS)
    assert record["recipe"]["data"]["kind"] == "Digits"
    assert record["recipe"]["optimizer"]["betas"] == list(TINY.optimizer.betas)
    assert {"torch", "python"} <= record["versions"].keys()
    assert (begun / RUN).read_text().endswith("}\n")
    open_run(tmp_path / "plain", "digits", TINY)
    assert list(read_record(tmp_path / "plain")) == ["name", "recipe", "versions", "commit"]


def test_a_run_that_goes_on_keeps_the_record_of_its_start(begun):
    before = read_record(begun)
    assert go_on(begun, init={"model": "a model", "hash": "y"}) == before


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"name": "other"}, "holds a run of 'digits', not of 'other'"),
        ({"model": "another"}, "began with --init-from a model, now it is another"),
        ({"model": None}, "began with --init-from a model, now it is None"),
        ({"facts": {**FACTS, "images": 4}}, r"found\.images"),
        ({"recipe": dataclasses.replace(TINY, seed=1)}, "trained with seed=0, now it is 1"),
    ],
)
def test_another_run_is_refused_once_there_is_a_checkpoint(begun, how, message):
    before = (begun / RUN).read_bytes()
    with pytest.raises(UserError, match=message):
        go_on(begun, **how)
    assert (begun / RUN).read_bytes() == before
    for step in (2, 4):
        checkpoint_path(begun, step).rmdir()
    go_on(begun, **how)
    assert (begun / RUN).read_bytes() != before


def test_changes_are_told_and_recorded_with_the_step_they_hold_from(begun, caplog):
    faster = dataclasses.replace(TINY, seed=1)
    changes = Changes(data=True, fields=frozenset({"seed"}))
    record = go_on(begun, faster, facts={**FACTS, "images": 4}, changes=changes)
    assert record["changed_data"] == [{"step": 4, "images": [3, 4]}]
    assert record["overrides"] == [{"step": 4, "seed": [0, 1]}]
    assert caplog.messages == [
        f"changed: {what}; from step 4 on this is not bitwise the run that began"
        for what in ("images 3 → 4", "seed 0 → 1")
    ]
    checkpoint_path(begun, 6).mkdir()
    later = go_on(begun, TINY, facts={**FACTS, "images": 4}, changes=changes)
    assert later["changed_data"] == record["changed_data"]
    assert later["overrides"] == [*record["overrides"], {"step": 6, "seed": [1, 0]}]


@pytest.mark.parametrize("opened", [False, True])
def test_only_a_new_place_or_one_of_a_run_is_taken(tmp_path, opened):
    def take(run):
        with one_training(run):
            if opened:
                open_run(run, "digits", TINY)

    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="file is a file: choose another --out"):
        take(tmp_path / "file")
    with pytest.raises(UserError, match="is not empty and holds no run"):
        take(tmp_path)
    for name in (LOCK, ".partial-run.json-0"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("")
        take(tmp_path / name)
    take(tmp_path / "a" / "new" / "one")
    take(tmp_path / "a" / "new" / "one")


def test_others_files_are_refused_without_a_lock_too(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty and holds no run"):
        open_run(tmp_path, "digits", TINY)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", '{"recipe": 3}', '{"recipe": {}, "found": 3}', "[" * 10**5]
)
def test_a_damaged_record_is_named(begun, text):
    (begun / RUN).write_text(text)
    with pytest.raises(UserError, match=r"run\.json is damaged: restore it"):
        go_on(begun)


ROWS = [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}, {"step": 3, "loss": 0.125}]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
DAMAGED = [
    *("[]\n", "null\n", '{"loss": 1}\n', '{"step": null}\n', "\ufffd\n"),
    *("[" * 10**5 + "\n", '{"step": 2}'),
]


def test_lines_up_to_the_step_that_is_done_stay(tmp_path):
    for done in range(4):
        (tmp_path / "lines").write_text(LINES)
        lines = StepLines(tmp_path / "lines", done)
        assert lines.rows() == rows_until(tmp_path / "lines", 3) == ROWS[:done]
        lines.write({"step": 9})
        assert lines.rows() == rows_until(tmp_path / "lines", 9) == [*ROWS[:done], {"step": 9}]
    assert rows_until(tmp_path / "nothing", 9) == StepLines(tmp_path / "nothing", 9).rows() == []


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_lines_are_lost_and_no_others(tmp_path, damage):
    file = tmp_path / "lines"
    whole = damage.endswith("\n")  # else a power cut took its end
    file.write_text(damage + LINES if whole else LINES + damage)
    assert rows_until(file, 9) == ROWS
    lines = StepLines(file, 9)
    lines.write({"step": 9})
    assert rows_until(file, 9) == [*ROWS, {"step": 9}]


def test_what_is_not_finite_becomes_null(tmp_path):
    lines = StepLines(tmp_path / "lines", 0)
    lines.write({"step": 1, "a": math.nan, "b": -math.inf, "c": 0.5, "d": "nan", "e": ["x"]})
    expected = {"step": 1, "a": None, "b": None, "c": 0.5, "d": "nan", "e": ["x"]}
    assert json.loads((tmp_path / "lines").read_text()) == expected


def test_one_that_does_not_write_changes_nothing(tmp_path):
    (tmp_path / "lines").write_text(LINES)
    lines = StepLines(tmp_path / "lines", 1, writes=False)
    lines.write({"step": 2})
    lines.flush()
    assert (tmp_path / "lines").read_text() == LINES
    StepLines(tmp_path / "new", 0, writes=False).write({"step": 1})
    assert not (tmp_path / "new").exists()


def test_a_line_that_a_full_disk_takes_in_part_is_written_whole_later(tmp_path):
    lines = StepLines(tmp_path / "lines", 0)
    lines.write(ROWS[0])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "lines").stat().st_size + 9, before[1]))
    try:
        lines.write(ROWS[1])
        with pytest.raises(OSError, match="File too large"):
            lines.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert lines.rows() == ROWS[:2]
    lines.write(ROWS[2])
    assert (tmp_path / "lines").read_text() == LINES


def test_lines_are_appended_once(tmp_path):
    lines = StepLines(tmp_path / "lines", 0)
    for row in ROWS:
        lines.write(row)
        lines.flush()
    assert (tmp_path / "lines").read_text() == LINES
