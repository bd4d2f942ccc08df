"""Recorded forward passes give what the passes give."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.gpu
def test_samples_are_the_same_and_memory_is_given_back_where_it_runs_out():
    # in a process of its own: the type checks of the tests cannot be compiled
    script = Path(__file__).parents[1] / "recorded_sampling.py"
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
