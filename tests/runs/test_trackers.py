"""Trackers get what metrics.jsonl gets, once, and never stop a run."""

import dataclasses
import json
import sqlite3
import sys
import threading

import pytest

import patch_forcing as pf
from patch_forcing.runs.run import TrainingRun
from patch_forcing.runs.trackers import STATE, TRACKERS, Trackers, check_trackers
from patch_forcing.runs.trainer import train
from tests.support.threads import on_threads


def rows(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_event_files_hold_what_metrics_jsonl_holds_and_resuming_repeats_nothing(recipe, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run, track = tmp_path / "run", ["tensorboard"]
    stopped = dataclasses.replace(recipe, checkpoint_every=2, steps=5)
    train("digits", stopped, run, progress=False, track=track)
    broken = run / "checkpoints" / "step-00000005" / "manifest.json"
    broken.unlink()  # so that it goes on from step 4, and step 5 is told again
    recipe = dataclasses.replace(recipe, sample_every=6)
    train("digits", recipe, run, progress=False, track=track)
    events = EventAccumulator(str(run / "tensorboard"), {"scalars": 0, "images": 0})
    events.Reload()
    written = rows(run)
    assert [row["step"] for row in written] == [1, 2, 3, 4, 5, 6]
    for name in ("total", "velocity_at_0.3", "difficulty_ratio", "images_per_second"):
        reports = [(event.step, event.value) for event in events.Scalars(name)]
        kept = [(row["step"], row[name]) for row in written if row[name] is not None]
        assert reports == [(step, pytest.approx(value, rel=1e-6)) for step, value in kept]
    (image,) = events.Images("samples")
    assert image.step == 6
    assert image.encoded_image_string == (run / "samples" / "step-00000006.png").read_bytes()


def test_of_several_ranks_the_first_alone_tells(recipe, tmp_path):
    pytest.importorskip("tensorboard")
    one, track = dataclasses.replace(recipe, steps=1), ("tensorboard",)

    def task(ranks):
        run = TrainingRun("digits", one, tmp_path, one.data.open(), ranks=ranks, track=track)
        return dataclasses.replace(run, progress=False).train().steps

    assert on_threads(2, task) == [1, 1]
    assert len([*(tmp_path / "tensorboard").iterdir()]) == 1


def test_a_tensorboard_that_cannot_write_is_said_once_and_catches_up(tmp_path, caplog):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reports = Trackers(["tensorboard"], tmp_path, 0, {})
    folder, aside = tmp_path / "tensorboard", tmp_path / "aside"
    folder.rename(aside)
    for step in (1, 2):
        reports.log(step, {"step": step, "total": 1.5, "lost": None})
    wait(reports)
    aside.rename(folder)
    reports.log(3, {"step": 3, "total": 2.5, "lost": float("nan")})
    reports.close()
    assert [message.split(":")[0] for message in caplog.messages] == ["tensorboard"]
    events = EventAccumulator(str(folder))
    events.Reload()
    assert events.Tags()["scalars"] == ["total"]
    assert [(event.step, event.value) for event in events.Scalars("total")] == [(3, 2.5)]


def wait(reports):
    """Until all that was told is done."""
    done = threading.Event()
    reports._put("test", done.set)
    assert done.wait(60)


class Failing:
    """A tracker that fails at everything but opening."""

    def __init__(self, opening):
        self.config = opening.config

    def log(self, step, row):
        raise ConnectionError(f"no route\nat step {step}")

    image = log

    def close(self):
        raise ConnectionError("no route")


class Stuck:
    """A tracker that never comes back."""

    never = threading.Event()

    def __init__(self, opening):
        pass

    def log(self, step, row):
        self.never.wait()

    image = log

    def close(self):
        pass


def not_opening(_opening):
    raise TimeoutError("server does not answer")


@pytest.mark.parametrize(
    ("tracker", "output"),
    [
        (Failing, "json: no route; training goes on"),
        (not_opening, "json: server does not answer; training goes on"),
        (Stuck, "json: not done 0.2 seconds after the end"),
    ],
)
def test_a_tracker_that_fails_or_hangs_stops_nothing_and_is_said_once(
    recipe, tmp_path, caplog, monkeypatch, tracker, output
):
    monkeypatch.setitem(TRACKERS, "json", tracker)  # a package that is there
    monkeypatch.setattr("patch_forcing.runs.trackers.WAIT", 0.2)
    outcome = train("digits", recipe, tmp_path / "run", progress=False, track=["json"])
    assert outcome.steps == 6
    assert len(rows(tmp_path / "run")) == 6
    assert [message[: len(output)] for message in caplog.messages] == [output]


def test_a_tracker_that_falls_behind_loses_rows_and_never_memory(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(TRACKERS, "json", Stuck)
    monkeypatch.setattr("patch_forcing.runs.trackers.WAIT", 0.2)
    reports = Trackers(["json"], tmp_path, 0, {})
    for step in range(1, 2001):
        reports.log(step, {"total": 1.0})
    assert reports._calls.qsize() == 1000
    reports.close()
    assert "1000 calls behind" in caplog.messages[0]
    assert len(caplog.messages) == 1


class Keeping:
    """A tracker that keeps what it is told."""

    reports: list = []

    def __init__(self, opening):
        self.reports.append(("open", opening.identity, opening.done))

    def log(self, step, row):
        self.reports.append((step, dict(row)))

    def image(self, step, name, file):
        self.reports.append((step, name))

    def close(self):
        self.reports.append("closed")


def test_a_run_keeps_its_name_and_tells_no_step_twice_and_a_new_run_is_another(
    tmp_path, monkeypatch
):
    monkeypatch.setitem(TRACKERS, "json", Keeping)
    monkeypatch.setattr(Keeping, "reports", [])
    for done, steps in ((0, (1, 2, 3)), (2, (3, 4)), (0, (1,))):
        reports = Trackers(["json"], tmp_path, done, {})
        for step in steps:
            reports.image(step, "samples", tmp_path)
            reports.log(step, {"step": step, "total": 0.5})
        reports.close()
    opened = [entry for entry in Keeping.reports if entry[0] == "open"]
    assert opened[0][1] == opened[1][1] != opened[2][1]
    assert [entry[0] for entry in Keeping.reports if isinstance(entry[0], int)] == [
        *(1, 1, 2, 2, 3, 3, 4, 4, 1, 1)
    ]
    assert (4, {"total": 0.5}) in Keeping.reports
    assert Keeping.reports.count("closed") == 3


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"json": 3}', '{"json": {}}', "\x00"])
def test_a_damaged_state_begins_a_new_name(tmp_path, monkeypatch, damage):
    monkeypatch.setitem(TRACKERS, "json", Keeping)
    monkeypatch.setattr(Keeping, "reports", [])
    (tmp_path / STATE).write_text(damage)
    reports = Trackers(["json"], tmp_path, 3, {})
    reports.log(4, {"total": 1.0})
    reports.close()
    assert Keeping.reports[1:] == [(4, {"total": 1.0}), "closed"]


def test_what_is_missing_or_mistyped_is_said_before_any_work(recipe, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(pf.UserError, match=r"pip install .*\[wandb\]'"):
        train("digits", recipe, tmp_path / "run", progress=False, track=["wandb"])
    with pytest.raises(pf.UserError, match="did you mean 'tensorboard'"):
        train("digits", recipe, tmp_path / "run", progress=False, track=["tensorbord"])
    assert not (tmp_path / "run").exists()
    assert check_trackers([]) == ()


@pytest.mark.slow
def test_trackio_gets_every_step_once_after_a_resume_too(recipe, tmp_path, monkeypatch):
    pytest.importorskip("trackio")
    import trackio.sqlite_storage as storage

    monkeypatch.setattr(storage, "TRACKIO_DIR", tmp_path / "trackio")
    resumed(recipe, tmp_path / "run", "trackio")
    steps = []
    for file in (tmp_path / "trackio").glob("*.db"):
        with sqlite3.connect(file) as database:
            result = database.execute("select step, metrics from metrics").fetchall()
            steps += [step for step, reports in result if "total" in json.loads(reports)]
    assert sorted(steps) == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
def test_wandb_goes_on_with_the_same_run(recipe, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    resumed(recipe, tmp_path / "run", "wandb")
    known = json.loads((tmp_path / "run" / STATE).read_text())["wandb"]
    assert known["step"] == 6
    kept = [file.name for file in (tmp_path / "run" / "wandb").rglob("run-*.wandb")]
    assert kept == [f"run-{known['id']}.wandb"] * 2


def resumed(recipe, run, tracker):
    """Six steps, of which the fifth is done twice."""
    train("digits", dataclasses.replace(recipe, steps=5), run, progress=False, track=[tracker])
    (run / "checkpoints" / "step-00000005" / "manifest.json").unlink()
    train("digits", recipe, run, progress=False, track=[tracker])
