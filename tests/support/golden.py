"""What was recorded on one machine, to be the same for ever: losses, samples, command lines."""

import hashlib
import platform
from pathlib import Path

import torch

from patch_forcing.io.provenance import hardware

GOLDEN = Path(__file__).parents[1] / "golden"


def machine() -> dict[str, str]:
    """What numbers depend on, bit for bit, beside the code: torch and the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        flags = next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        flags = platform.processor()
    return {
        "torch": torch.__version__,
        "kernels": torch.backends.cpu.get_cpu_capability(),
        "processor": hardware("cpu").partition(",")[0],
        "flags": hashlib.sha256(flags.encode()).hexdigest()[:12],
    }
