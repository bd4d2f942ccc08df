"""One run folder, one training: a second one is refused and told who trains there."""

import dataclasses
import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import patch_forcing as pf
from benchmarks.faults.system_calls import run_child, why_not
from patch_forcing.io.lock import HeldError, exclusive
from patch_forcing.runs.run_folder import LOCK, one_training
from patch_forcing.runs.trainer import train

HOLD = """
import sys, time
from pathlib import Path
from patch_forcing.runs.run_folder import one_training
with one_training(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that trains in the folder `run`."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_training_is_refused_and_told_who_trains(holder, recipe, tmp_path):
    run = tmp_path / "run"
    before = {file: file.read_bytes() for file in run.iterdir()}
    host = re.escape(socket.gethostname())
    when = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d"
    who = f"is being trained by process {holder.pid} on {host} since {when}: wait for it, or"
    with pytest.raises(pf.UserError, match=who):
        train("digits", recipe, run, progress=False)
    assert {file: file.read_bytes() for file in run.iterdir()} == before


def test_a_second_training_is_refused_while_the_first_writes_its_record(holder, tmp_path):
    (tmp_path / "run/.partial-run.json-01234567").write_text('{"name"')
    when = f"is being trained by process {holder.pid} on "
    with pytest.raises(pf.UserError, match=when), one_training(tmp_path / "run"):
        pass


def test_a_training_that_was_killed_while_it_wrote_its_record_begins_again(recipe, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK).write_text("")
    (tmp_path / "run/.partial-run.json-01234567").write_text('{"name"')
    short = dataclasses.replace(recipe, steps=1)
    assert train("digits", short, tmp_path / "run", progress=False).steps == 1
    assert not list((tmp_path / "run").glob(".partial-*"))


def test_the_lock_of_a_killed_process_does_not_lock(holder, recipe, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "run" / LOCK).exists()
    half = dataclasses.replace(recipe, steps=2)
    assert train("digits", half, tmp_path / "run", progress=False).steps == 2
    assert not (tmp_path / "run" / LOCK).exists()


def test_after_a_training_another_one_goes_on(recipe, tmp_path):
    for steps in (1, 2):
        part = dataclasses.replace(recipe, steps=steps)
        assert train("digits", part, tmp_path / "run", progress=False).steps == steps


@pytest.mark.parametrize("text", ["", "[]", "{", '{"pid": 1}'])
def test_a_file_that_is_left_behind_locks_nothing(tmp_path, text):
    (tmp_path / LOCK).write_text(text)
    with one_training(tmp_path):
        holder = json.loads((tmp_path / LOCK).read_text())
        assert (holder["pid"], holder["host"]) == (os.getpid(), socket.gethostname())
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_the_disk_does_not_remove_goes_with_the_next_training(tmp_path):
    if reason := why_not():
        pytest.skip(reason)

    def training():
        with one_training(tmp_path):
            pass

    refused = run_child(
        training, tmp_path, lambda call: errno.EROFS if call.name == "unlink" else None
    )
    assert refused == (0, "")
    assert [file.name for file in tmp_path.iterdir()] == [LOCK]
    training()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_free_after_an_error_and_held_within_a_process(tmp_path):
    with pytest.raises(RuntimeError, match="half-way"), exclusive(tmp_path / "lock"):
        with pytest.raises(HeldError), exclusive(tmp_path / "lock"):
            pass
        assert (tmp_path / "lock").exists()
        raise RuntimeError("half-way")
    with exclusive(tmp_path / "lock"):
        pass


def test_a_folder_of_others_gets_no_lock(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(pf.UserError, match="holds no run"), one_training(tmp_path):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_a_lock_that_is_taken_again_and_again_is_held_by_one(tmp_path):
    """Processes that remove the file at its end and take it anew never hold two at once."""
    script = """
import sys
from pathlib import Path
from patch_forcing.io.lock import HeldError, exclusive
folder = Path(sys.argv[1])
taken = 0
while taken < 50:
    try:
        with exclusive(folder / "lock"):
            (folder / "inside").mkdir()
            (folder / "inside").rmdir()
            taken += 1
    except HeldError:
        pass
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert list(Path(tmp_path).iterdir()) == []
