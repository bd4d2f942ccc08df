"""When a run saves, what it keeps, and what it does where it cannot: on folders that are files."""

import dataclasses
import json

import pytest

from patch_forcing.core.errors import UserError
from patch_forcing.distributed.ranks import ALONE
from patch_forcing.io.atomic import broken_file
from patch_forcing.io.run_layout import CHECKPOINTS, checkpoint_step, checkpoints, step_folders
from patch_forcing.runs.checkpoint import load_checkpoint, save_checkpoint
from patch_forcing.runs.run_folder import StepLines
from patch_forcing.runs.saver import TRIES, WAIT, Saver, time
from patch_forcing.runs.snapshots import SNAPSHOTS
from patch_forcing.runs.state import initial_state
from tests.support.tiny import TINY

RECIPE = dataclasses.replace(TINY, steps=100, checkpoint_every=20, snapshot_every=0)


@pytest.fixture(scope="module")
def state():
    return initial_state(TINY, TINY.data.open(), "cpu")


def saver_of(run, done=0, lines=(), **changes):
    return Saver(run, done, dataclasses.replace(RECIPE, **changes), lines, ALONE)


def steps_in(folder):
    return [checkpoint_step(path) for path in step_folders(folder)]


@pytest.fixture
def waits(monkeypatch):
    """Seconds that were waited for; nobody waits."""
    seconds = []
    monkeypatch.setattr(time, "sleep", seconds.append)
    return seconds


def test_a_checkpoint_is_due_each_interval_and_ten_times_as_often_after_a_failure(
    state, tmp_path, caplog
):
    saver = saver_of(tmp_path, checkpoint_every=25)
    (tmp_path / CHECKPOINTS).write_text("in the way")
    assert [steps for steps in range(1, 60) if saver.is_due(steps)] == [*range(25, 60)]
    saver.save(25, state)
    assert [steps for steps in range(26, 32) if saver.is_due(steps)] == [26, 28, 30]
    saver.save(26, state)
    assert caplog.messages == [
        f"step {steps} is not saved yet: File exists ({tmp_path})" for steps in (25, 26)
    ]
    assert saver.saved == 0
    (tmp_path / CHECKPOINTS).unlink()
    saver.save(28, state)
    assert saver.saved == 28
    assert broken_file(checkpoints(tmp_path)[0]) is None
    assert [steps for steps in range(29, 53) if saver.is_due(steps)] == [50, 51, 52]


def test_failures_in_a_row_stop_a_run_and_others_do_not(state, tmp_path, waits):
    saver = saver_of(tmp_path, checkpoint_every=1)
    for first in (1, TRIES + 1):
        (tmp_path / CHECKPOINTS).write_text("in the way")
        for steps in range(first, first + TRIES - 1):
            saver.save(steps, state)
        if first == 1:
            (tmp_path / CHECKPOINTS).unlink()
            saver.save(TRIES, state)
            (tmp_path / CHECKPOINTS).rename(tmp_path / "elsewhere")
    reason = f"File exists, at step {2 * TRIES} and {TRIES} times in a row: step {TRIES} is saved"
    with pytest.raises(UserError, match=reason):
        saver.save(2 * TRIES, state)
    assert waits == []


def test_after_the_last_step_it_is_tried_again_at_once(state, tmp_path, waits):
    (tmp_path / CHECKPOINTS).write_text("in the way")
    with pytest.raises(UserError, match=f"at step 7 and {TRIES} times in a row: step 0 is"):
        saver_of(tmp_path).save(7, state, last=True)
    assert waits == [WAIT] * (TRIES - 1)


def test_what_is_not_due_is_not_saved_unless_it_is_the_last(state, tmp_path):
    saver = saver_of(tmp_path)
    saver.save(7, state)
    assert (saver.saved, checkpoints(tmp_path)) == (0, [])
    saver.save(7, state, last=True)
    assert (saver.saved, steps_in(tmp_path / CHECKPOINTS)) == (7, [7])
    stamp = checkpoints(tmp_path)[0].stat().st_ino
    saver.save(7, state, last=True)
    assert checkpoints(tmp_path)[0].stat().st_ino == stamp


def test_a_snapshot_alone_is_no_checkpoint(state, tmp_path):
    saver = saver_of(tmp_path, snapshot_every=3)
    saver.save(3, state)
    assert (saver.saved, steps_in(tmp_path / SNAPSHOTS)) == (0, [3])
    assert [steps for steps in range(4, 8) if saver.is_due(steps)] == [6, 7]


@pytest.mark.parametrize(("every", "due"), [(0, [4]), (1, [1, 2, 3, 4, 5]), (4, [4, 5])])
def test_a_snapshot_is_due_each_interval_and_after_the_last_step(tmp_path, every, due):
    saver = saver_of(tmp_path, steps=5, checkpoint_every=4, snapshot_every=every, done=0)
    saver.saved = 0 if every else 3
    assert [steps for steps in range(1, 6) if saver.is_due(steps)][: len(due)] == due


def test_the_last_snapshot_is_taken_once(state, tmp_path):
    saver = saver_of(tmp_path, steps=7, snapshot_every=3)
    saver.save(7, state, last=True)
    assert steps_in(tmp_path / SNAPSHOTS) == [7]
    assert not saver.is_due(7)


def test_a_resumed_run_goes_on_from_its_checkpoint(state, tmp_path):
    before = saver_of(tmp_path, snapshot_every=10)
    for steps in (10, 20, 30):
        before.save(steps, state)
    saver = saver_of(tmp_path, done=20, snapshot_every=10)
    assert (saver.saved, steps_in(tmp_path / SNAPSHOTS)) == (20, [10, 20])
    assert [steps for steps in range(21, 32) if saver.is_due(steps)] == [30, 31]


def test_what_was_left_aside_is_removed_and_the_newest_three_stay(state, tmp_path):
    for folder in (CHECKPOINTS, SNAPSHOTS):
        (tmp_path / folder / ".partial-step-00000001-0").mkdir(parents=True)
    saver = saver_of(tmp_path, snapshot_every=20)
    for steps in (20, 40, 60, 80):
        saver.save(steps, state)
    assert sorted(file.name for file in (tmp_path / CHECKPOINTS).iterdir()) == [
        f"step-{steps:08d}" for steps in (40, 60, 80)
    ]
    assert {file.name for file in (tmp_path / SNAPSHOTS).iterdir()} == {
        f"step-{steps:08d}" for steps in (20, 40, 60, 80)
    }


def test_lines_are_on_disk_before_their_checkpoint(state, tmp_path, caplog):
    lines = StepLines(tmp_path / "gone" / "metrics.jsonl", 0)
    lines.write({"step": 20})
    saver = saver_of(tmp_path, lines=[lines])
    saver.save(20, state)
    assert checkpoints(tmp_path) == []
    assert caplog.messages == [f"step 20 is not saved yet: No such file or directory ({tmp_path})"]
    lines.file.parent.mkdir()
    saver.save(22, state)
    assert json.loads(lines.file.read_text()) == {"step": 20}
    assert steps_in(tmp_path / CHECKPOINTS) == [22]


def test_both_that_fail_are_told_as_the_checkpoint_and_each_is_tried_again(state, tmp_path, caplog):
    for folder in (CHECKPOINTS, SNAPSHOTS):
        (tmp_path / folder).write_text("in the way")
    saver = saver_of(tmp_path, snapshot_every=20)
    saver.save(20, state)
    assert caplog.messages == [f"step 20 is not saved yet: File exists ({tmp_path})"]
    for folder, steps in ((CHECKPOINTS, 22), (SNAPSHOTS, 24)):
        (tmp_path / folder).unlink()
        saver.save(steps, state)
    assert steps_in(tmp_path / CHECKPOINTS) == [22]
    assert steps_in(tmp_path / SNAPSHOTS) == [24]


OTHERS = {
    "wider": {"network": dataclasses.replace(TINY.network, hidden_size=32)},
    "deeper": {"network": dataclasses.replace(TINY.network, depth=2)},
    "without snapshots' averages": {"snapshot_every": 0},
    "of another optimizer": {"optimizer": dataclasses.replace(TINY.optimizer, name="muon")},
}


def stepped(recipe):
    """A state whose optimizers have something to keep; all gradients are 1."""
    made = initial_state(recipe, recipe.data.open(), "cpu")
    for weight in made.trained():
        weight.grad = weight.new_ones(weight.shape)
    for optimizer in made.optimizers:
        optimizer.step()
    return made


@pytest.mark.parametrize("other", OTHERS)
def test_a_sound_checkpoint_that_is_another_runs_is_named(tmp_path, other):
    recipe = dataclasses.replace(TINY, **OTHERS[other])
    path = save_checkpoint(tmp_path, 20, stepped(recipe))
    assert load_checkpoint(path, stepped(recipe)) == 20
    with pytest.raises(UserError, match=r"step-00000020 does not fit this run \(.+\): remove it"):
        load_checkpoint(path, stepped(TINY))
