"""The command line answers before anything large is loaded."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_load_no_torch(option):
    script = (
        "import sys; from patch_forcing.cli.main import run; run([sys.argv[1]]); "
        "assert not {'torch', 'numpy', 'PIL', 'tyro'} & sys.modules.keys()"
    )
    command = [sys.executable, "-c", script, option]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "patch-forcing" in run.stdout
