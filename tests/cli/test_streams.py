"""Commands work, and end as they should, whoever reads what they print."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import patch_forcing

COMMAND = f"{shlex.quote(sys.executable)} -m patch_forcing"
TRAIN = "train digits --steps 2 --network.hidden-size 16 --network.depth 1 --network.num-heads 2"
TRAIN += " --batch-size 4 --device cpu --sample-every 0 --out run"
SAMPLE = "sample digits --labels 3 --sampler euler --steps 1 --device cpu --out run"
FAST = ((SAMPLE, "<&- >&- 2>&-"),)
"""Of the default suite: each starts a process, which takes seconds."""


def shell(line, folder):
    """Status, stdout and stderr of a line of the shell, in which PF is the command."""
    line = line.replace("PF", COMMAND)
    source = str(Path(patch_forcing.__file__).parents[1])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": source}
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("command", "left", "closed"),
    [
        pytest.param(*what, closed, marks=() if (what[0], closed) in FAST else pytest.mark.slow)
        for what in ((TRAIN, "run/checkpoints/step-00000002"), (SAMPLE, "run/0.png"))
        for closed in ("2>&-", ">&-", ">&- 2>&-", "<&- >&- 2>&-", "| true")
    ],
)
def test_work_is_done_without_standard_streams(tmp_path, closed, command, left):
    ended = shell(f"PF {command} {closed}", tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / left).exists()
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr


@pytest.mark.parametrize("line", ["PF train --list | head -1", "PF --help | true", "PF --help >&-"])
def test_a_reader_who_leaves_is_no_error(tmp_path, line):
    ended = shell(line, tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    "closed",
    [
        ">&-",
        "2>/dev/full",
        pytest.param("2>&-", marks=pytest.mark.slow),
        pytest.param(">&- 2>&-", marks=pytest.mark.slow),
    ],
)
def test_a_mistake_has_its_status_and_says_nothing_elsewhere(tmp_path, closed):
    ended = shell(f"PF sample nosuch {closed}", tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    if closed == ">&-":
        assert "unknown" in ended.stderr or "nosuch" in ended.stderr


def test_a_full_disk_is_still_an_error(tmp_path):
    ended = shell("PF --help >/dev/full", tmp_path)
    assert ended.returncode == 2
    assert "No space left on device: choose another place" in ended.stderr


def test_what_others_print_gets_into_no_file(tmp_path):
    """The next file that is opened would have the number of the standard error that is closed."""
    script = "from patch_forcing.cli.streams import keep_streams\nkeep_streams()\nimport os\n"
    script += "file = open('checkpoint', 'wb')\nos.write(2, b'warning')\nfile.close()"
    ended = shell(f"{shlex.quote(sys.executable)} -c {shlex.quote(script)} 2>&- <&-", tmp_path)
    assert ended.returncode == 0
    assert Path(tmp_path / "checkpoint").read_bytes() == b""
