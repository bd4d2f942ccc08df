"""Nothing is lost: the rows of docs/reliability.md, in small numbers, and what they are made of."""

import json
import subprocess
import sys

import pytest

from benchmarks.faults.rows import before
from benchmarks.faults.run import FULL, QUICK
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.io.atomic import remove_leftovers
from patch_forcing.io.run_layout import checkpoint_path, checkpoint_step, checkpoints
from patch_forcing.runs.run_folder import StepLines, open_run
from patch_forcing.runs.saver import keep_newest
from patch_forcing.runs.texts import with_texts
from tests.support.scripts import ROOT
from tests.support.small_recipes import small

# test_ranks.py has a few of the rows that only the full page has, test_golden.py every recipe.
LONG = ("failing disks", "memory", "golden")


@pytest.mark.parametrize(
    ("rows", "size"),
    [
        pytest.param(
            [name for name in QUICK if name not in LONG],
            ["--quick"],
            id="quick",
            marks=pytest.mark.slow,
        ),
        pytest.param([*FULL], [], id="full", marks=pytest.mark.slow),
    ],
)
def test_the_rows_of_the_reliability_page_hold(rows, size):
    """In a process of its own, which forks others and measures their memory."""
    command = [sys.executable, "-m", "benchmarks.faults.run", "--print", *size]
    command += ["--rows", ",".join(rows)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.stdout, run.stderr
    held = json.loads(run.stdout.splitlines()[-1])["rows"]  # gloo may write lines before
    assert [*held] == rows
    assert {name: row["broken"] for name, row in held.items() if row["broken"]} == {}
    assert all(row["tried"] or "skipped" in row["notes"] for row in held.values())


def test_what_is_done_before_a_batch_leaves_its_captions_to_be_read(tmp_path, monkeypatch):
    recipe = small("emoji-text", tmp_path, steps=2)
    monkeypatch.setattr(type(recipe.data), "open", type(recipe.data).open)
    steps = []

    def task():
        data = with_texts(recipe, recipe.data.open())
        steps.append(data.batch(BatchSpec(0, 2, 0)).condition)
        steps.append(data.batch(BatchSpec(1, 2, 0)).condition)

    before(recipe, 1, lambda: steps.append("action"), task)()
    assert steps[1] == "action"
    assert all(condition is not None for condition in steps)


def test_lines_that_the_disk_does_not_take_are_written_later_in_order(tmp_path):
    lines = StepLines(tmp_path / "gone" / "metrics.jsonl", 0)
    for step in (1, 2):
        lines.write({"step": step})
    with pytest.raises(OSError, match="No such file"):
        lines.flush()
    assert [row["step"] for row in lines.rows()] == [1, 2]
    lines.file.parent.mkdir()
    lines.write({"step": 3})
    assert [json.loads(line)["step"] for line in lines.file.read_text().splitlines()] == [1, 2, 3]


def test_half_a_line_that_a_failed_write_left_is_overwritten(tmp_path):
    lines = StepLines(tmp_path / "metrics.jsonl", 0)
    lines.write({"step": 1})
    with lines.file.open("a") as stream:
        stream.write('{"step": 2, "tot')
    assert [row["step"] for row in lines.rows()] == [1]
    lines.write({"step": 2})
    assert [json.loads(line)["step"] for line in lines.file.read_text().splitlines()] == [1, 2]


def test_of_a_link_the_link_is_removed(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / ".partial-link").symlink_to(tmp_path / "kept")
    (tmp_path / ".partial-broken").symlink_to(tmp_path / "nowhere")
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_run_killed_before_it_had_its_record_is_begun_again(recipe, tmp_path):
    (tmp_path / ".partial-run.json-01234567").write_text("half")
    open_run(tmp_path, "digits", recipe)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_damaged_checkpoints_ahead_push_out_no_sound_one(tmp_path):
    for step in (1, 2, 3, 4, 5, 6):
        checkpoint_path(tmp_path, step).mkdir(parents=True)
    keep_newest(tmp_path, 2, 3)
    assert [checkpoint_step(path) for path in checkpoints(tmp_path)] == [2, 3, 4, 5, 6]
