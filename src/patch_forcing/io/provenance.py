"""Where a result comes from: versions, hardware and commit, for runs and benchmarks."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def versions() -> dict[str, str]:
    """The versions of the software that can change a number."""
    names = ("patch-forcing", "torch", "numpy", "scikit-learn")
    packages = {name: _version(name) for name in names}
    return {"python": platform.python_version(), **packages}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # run from its source, without installation
        return "not installed"


def hardware(device: object) -> str:
    """The name of the processor or GPU that computes: a torch.device, or its name."""
    import torch  # the rest of this file, and what records a run, does without

    if str(device).startswith("cuda"):
        return torch.cuda.get_device_name(str(device))
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        name = names[0]
    except (OSError, IndexError):
        name = platform.processor() or platform.machine()
    return f"{name}, {torch.get_num_threads()} threads"


def origin(device: object) -> dict[str, Any]:
    """The record beside a measurement: commit, date, hardware and versions."""
    return {
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": hardware(device),
        "versions": versions(),
    }


def commit() -> str | None:
    """The git commit of this source tree, with "-dirty" if it was changed. None if there is none.

    PATCH_FORCING_COMMIT in the environment names it where a tree travels without its history.
    """
    if named := os.environ.get("PATCH_FORCING_COMMIT"):
        return named
    here = Path(__file__)
    try:
        # a package installed inside another project's checkout is not of that project's commit
        subprocess.run(
            ["git", "ls-files", "--error-unmatch", here.name],
            cwd=here.parent,
            capture_output=True,
            check=True,
            timeout=10,
        )
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=here.parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()
