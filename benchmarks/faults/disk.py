"""Runs that are killed, and disks that fail."""

import errno
import os
import random
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.faults.rows import (
    Row,
    assert_finishes,
    assert_like,
    assert_sound,
    before,
    training,
    whole_run,
)
from benchmarks.faults.system_calls import KILL, Call, Ended, run_child, start_child, why_not
from patch_forcing.io.atomic import broken_file
from patch_forcing.io.run_layout import checkpoint_step, checkpoints, newest_sound
from patch_forcing.runs import saver
from patch_forcing.runs.run_folder import LOCK
from tests.support.tiny import TINY


def killed_at_random(work: Path, times: int) -> Row:
    """One run that is killed again and again, wherever it is, and resumed each time."""
    row = Row("kill -9 at random moments of a run", "named checkpoints load and verify; at most "
              "one interval lost; in the end bitwise the run never killed")  # fmt: skip
    draw, run = random.Random(0), work / "run"
    recipe = replace(TINY, steps=10**6, checkpoint_every=3)
    in_saves = 0
    for number in range(times):
        with row.attempt(f"kill {number}"):
            child = start_child(training(recipe, run))
            time.sleep(draw.uniform(0.05, 0.8))
            os.kill(child, signal.SIGKILL)
            assert os.WIFSIGNALED(os.waitpid(child, 0)[1]), "the run ended by itself"
            in_saves += any((run / "checkpoints").glob(".partial-*"))
            assert_sound(run, recipe)
    newest = newest_sound(run)
    recipe = replace(recipe, steps=(checkpoint_step(newest) if newest else 0) + 4)
    with row.attempt("the end"):
        assert_finishes(run, recipe, whole_run(recipe, work / "whole"))
    row.notes = {"steps": recipe.steps, "killed within a save": in_saves}
    row.tried -= 1
    return row


def killed_at_calls(work: Path, every: int) -> Row:
    """A run killed before each change that it makes to the disk, or each `every`-th."""
    row = Row("kill -9 before every change a run makes to the disk", "as above")
    if reason := why_not():
        return replace(row, notes={"skipped": reason})
    recipe = replace(TINY, steps=4, checkpoint_every=1)
    calls: list[Call] = []
    ended = run_child(training(recipe, work / "whole"), work, calls.append)
    whole = checkpoints(work / "whole")[-1]
    assert ended.status == 0, ended.text
    for number in range(0, len(calls), every):
        run = work / f"run-{number}"
        with row.attempt(f"before {calls[number].name} {calls[number].path.name} ({number})"):
            seen = iter(range(len(calls)))
            ended = run_child(
                training(recipe, run),
                run,
                lambda _, n=number, s=seen: KILL if next(s) == n else None,
            )
            assert ended.status == -signal.SIGKILL, ended
            assert_sound(run, recipe)
            assert_finishes(run, recipe, whole)
        shutil.rmtree(run, ignore_errors=True)
    row.notes = {"changes in the run": len(calls), "saves": recipe.steps}
    return row


def failing_calls(work: Path, every: int) -> Row:
    """A run whose n-th change to the disk fails, for each n; and one whose saves fail for long."""
    row = Row("EIO, ENOSPC or EROFS on the n-th change a run makes to the disk", "training goes on "
              "and the save is tried again: bitwise the undisturbed run, no partial file; a lock "
              "that cannot be removed goes with the next command; before the first step: it stops, "
              "and the same command works")  # fmt: skip
    if reason := why_not():
        return replace(row, notes={"skipped": reason})
    recipe = replace(TINY, steps=4, checkpoint_every=1)
    calls: list[Call] = []
    run_child(training(recipe, work / "whole"), work, calls.append)
    whole = checkpoints(work / "whole")[-1]
    opening = next(n for n, call in enumerate(calls) if call.path.name == "metrics.jsonl")
    errors = (errno.EIO, errno.ENOSPC, errno.EROFS)
    for number in range(0, len(calls), every):
        run = work / f"run-{number}"
        error = errors[number // every % len(errors)]
        what = f"{errno.errorcode[error]} at {calls[number].name} {calls[number].path.name}"
        with row.attempt(f"{what} ({number})"):
            seen = iter(range(10**6))
            ended = run_child(
                training(recipe, run),
                run,
                lambda _, n=number, e=error, s=seen: e if next(s) == n else None,
            )
            if number < opening and ended.status:
                assert os.strerror(error) in ended.text, ended.text
                assert_finishes(run, recipe, whole)
            else:
                assert ended.status == 0, ended.text
                if (run / LOCK).exists():  # which locks nothing
                    assert (calls[number].name, calls[number].path.name) == ("unlink", LOCK)
                    assert_finishes(run, recipe, whole)
                assert_like(run, whole)
        shutil.rmtree(run, ignore_errors=True)
    for error in errors:
        with row.attempt(f"{errno.errorcode[error]} for ever"):
            _stops_with_the_reason(work / f"for-ever-{error}", error)
    row.notes = {"changes in the run": len(calls), "failures before it stops": saver.TRIES}
    return row


def _stops_with_the_reason(run: Path, error: int) -> None:
    recipe = replace(TINY, steps=60, checkpoint_every=20, snapshot_every=20)

    saved = []

    def answer(call: Call) -> int | None:
        if call.path.name == "metrics.jsonl" and checkpoints(run):
            saved.append(call)  # step 20 is saved, and step 21 done
        return error if saved and call.name in ("openat", "write", "fsync", "mkdir") else None

    ended = run_child(training(recipe, run), run, answer)
    _assert_stopped(ended, run, error)


def _assert_stopped(ended: Ended, run: Path, error: int) -> None:
    """After TRIES failures between step 40 and the next interval, with step 20 kept."""
    wanted = f"{os.strerror(error)}, at step 58 and {saver.TRIES} times in a row"
    assert ended.status == 2, ended.text
    assert wanted in ended.text, ended.text
    assert [checkpoint_step(path) for path in checkpoints(run)] == [20]
    assert broken_file(checkpoints(run)[0]) is None
    if error != errno.EROFS:  # where nothing can be removed, the next start does
        assert not list((run / "checkpoints").glob(".*"))


def failing_disks(work: Path) -> Row:
    """A real file system that fills up, or becomes read-only, while a run trains on it."""
    row = Row("a disk that is full, or read-only, from some step on", "as above: it trains on, "
              "saves when there is room again; if not, it stops with the reason")  # fmt: skip
    disk, recipe = work / "disk", replace(TINY, steps=60, checkpoint_every=20, snapshot_every=20)
    disk.mkdir()
    if os.name == "nt" or _system("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk):
        return replace(row, notes={"skipped": "needs root, to mount a small file system"})
    whole = whole_run(recipe, work / "whole")
    try:
        for name, error in (("full", errno.ENOSPC), ("read-only", errno.EROFS)):
            for healed in (47, None):
                run = disk / f"run-{name}-{healed}"
                task = training(recipe, run)
                task = before(recipe, 30, lambda n=name: _disturb(disk, n), task)
                if healed:
                    task = before(recipe, healed, lambda n=name: _heal(disk, n), task)
                with row.attempt(f"{name}, healed at step {healed}"):
                    ended = run_child(task)
                    if healed:
                        assert ended.status == 0, ended.text
                        assert "is not saved yet" in ended.text, ended.text
                        assert_like(run, whole)
                    else:
                        _assert_stopped(ended, run, error)
                        _heal(disk, name)
                        assert_finishes(run, recipe, whole)
                _heal(disk, name)
                shutil.rmtree(run, ignore_errors=True)
    finally:
        _system("umount", disk)
    return row


def _system(*command: object) -> int:
    return subprocess.run(
        [str(part) for part in command], capture_output=True, check=False
    ).returncode


def _disturb(disk: Path, how: str) -> None:
    if how == "read-only":
        assert not _system("mount", "-o", "remount,ro", disk)
        return
    with (disk / "ballast").open("wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(bytes(4096))
        except OSError:
            return


def _heal(disk: Path, how: str) -> None:
    if how == "read-only":
        _system("mount", "-o", "remount,rw", disk)
    (disk / "ballast").unlink(missing_ok=True)
