"""Scripts of tests/scripts, each in a process of its own, where type checks of tests do not run."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_script(name: str, *arguments: str, launcher: Sequence[str] = (), **variables: str) -> str:
    """Standard output of `python -m tests.scripts.NAME ARGUMENTS`; it must end with status 0.

    launcher: what follows `python` in its place, as `-m torch.distributed.run`. variables: of the
    environment, beside those there are.
    """
    command = [sys.executable, *launcher, "-m", f"tests.scripts.{name}", *arguments]
    run = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout
