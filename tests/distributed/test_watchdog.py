"""A rank that hangs or dies: all end, and are told which it was and where."""

import dataclasses
import os
import subprocess
import sys
import threading
import time

import pytest

import patch_forcing as pf
from patch_forcing.distributed.ranks import Place, Ranks
from patch_forcing.distributed.watchdog import Seen, blamed, watched
from tests.support.scripts import ROOT

WAITS, WORKS = True, False


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ([("in step 3", WAITS, 9.0), ("in step 3", WAITS, 9.0)], ""),
        ([("in step 3", WAITS, 9.0), ("reading", WORKS, 99.0)], ""),
        ([("in step 3", WAITS, 11.0), ("reading", WORKS, 12.0)], "rank 1 has been reading for 12"),
        ([("saving", WORKS, 70.0), ("in step 3", WAITS, 60.0)], "rank 0 has been saving for 70"),
        ([("in step 3", WAITS, 11.0), ("reading", WAITS, 12.0)], "all ranks have waited for each"),
        ([("in step 3", WORKS, 99.0), ("reading", WORKS, 99.0)], ""),
    ],
)
def test_who_is_to_blame(result, expected):
    """Nobody, until someone has waited too long; then who does not wait."""
    message = blamed([Seen(*one) for one in result], [0.0, 0.0], limit=10)
    assert message.startswith(expected)
    assert bool(message) == bool(expected)


def test_a_frozen_rank_is_to_blame_though_it_seemed_to_wait():
    result = [Seen("in step 3", WAITS, 11.0), Seen("reading", WAITS, 4.0)]
    assert blamed(result, [0.1, 7.0], limit=10) == (
        "rank 1, last seen reading, has given no sign for 7 s"
    )


def test_one_rank_alone_has_no_watchdog():
    before = threading.active_count()
    with watched(Ranks(place=Place()), 1.0):
        assert threading.active_count() == before


@pytest.mark.parametrize("seconds", [0, -1, 3601, float("inf"), float("nan")])
def test_limits_that_torch_would_not_wait_for_are_refused(recipe, seconds):
    with pytest.raises(pf.UserError, match=r"watchdog=.* choose 1 to 3600 seconds"):
        dataclasses.replace(recipe, watchdog=seconds)


HANG = """
import dataclasses, signal, sys, time
from tests.support.tiny import TINY
from patch_forcing.cli.main import main
from patch_forcing.data.batch import TensorData
from patch_forcing.data.sources import Digits
from patch_forcing.runs import recipes

how, rank = sys.argv.pop(), int(sys.argv.pop())

class Data(TensorData):
    def batch(self, spec, device="cpu"):
        if spec.step == 3 and (spec.places.start > 0) == rank:
            time.sleep(1000 if how == "sleep" else 1)  # others hear of the place twice a second
            if how == "freeze":
                signal.raise_signal(signal.SIGSTOP)
            signal.raise_signal(signal.SIGKILL)
        return super().batch(spec, device)

@dataclasses.dataclass(frozen=True)
class Hanging:
    def open(self):
        digits = Digits().open()
        return Data(digits.images, digits.labels, digits.num_classes, digits.info)

named = dataclasses.replace(
    recipes.RECIPES["digits"], recipe=dataclasses.replace(TINY, data=Hanging(), watchdog=2.0)
)
recipes.RECIPES["digits"] = named
main()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="stops processes")
@pytest.mark.parametrize(
    ("rank", "how", "expected"),
    [
        (1, "kill", "; rank 1 was last seen reading the batch of step 4"),
        (0, "kill", "; rank 0 was last seen reading the batch of step 4"),
        (1, "sleep", "rank 1 has been reading the batch of step 4 for "),
        (0, "sleep", "rank 0 has been reading the batch of step 4 for "),
        (1, "freeze", "rank 1, last seen reading the batch of step 4, has given no sign for "),
        (0, "freeze", "rank 0, last seen reading the batch of step 4, does not answer"),
    ],
)
def test_a_rank_that_dies_or_hangs_ends_all_and_is_named(tmp_path, rank, how, expected):
    """The others wait in code that no exception reaches, and end all the same, with status 2."""
    script = tmp_path / "hang.py"
    script.write_text(HANG)
    paths = [ROOT, ROOT / "src"]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(29000 + os.getpid() % 1000 + 10 * rank + len(how)),
        "WORLD_SIZE": "2",
    }
    arguments = ["train", "digits", "--out", str(tmp_path / "run"), "--device", "cpu"]
    processes = [
        subprocess.Popen(
            [sys.executable, script, *arguments, str(rank), how],
            env={**environment, "RANK": str(number)},
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        for number in range(2)
    ]
    other = processes[1 - rank]
    try:
        started = time.monotonic()
        _, message = other.communicate(timeout=100)
        assert other.returncode == 2, message
        assert expected in message, message
        assert time.monotonic() - started < 100
    finally:
        for process in processes:
            process.kill()
            process.communicate()
