"""What a forward pass costs in operations, and how many a machine does at best."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from patch_forcing.core.time import PatchTime
from patch_forcing.models.config import PatchDiTConfig
from patch_forcing.models.dit import PatchDiT

REPEATS = 3


def operations(config: PatchDiTConfig, num_levels: int) -> int:
    """Floating-point operations of a forward pass of one image with so many distinct times."""
    with torch.device("meta"):
        twin = PatchDiT(config)
        x = torch.empty(1, config.in_channels, *config.image_size)
        index = torch.zeros(1, config.num_patches, dtype=torch.int64)
        t = PatchTime(torch.empty(1, num_levels), index)
        with FlopCounterMode(display=False) as counter:
            twin(x, t)
    return int(counter.get_total_flops())


@cache
def matrix_rate(
    device: torch.device | str, dtype: torch.dtype, least_seconds: float = 0.1
) -> float:
    """Floating-point operations a second of one large matrix product: the floor of everything.

    Measured once in a process.
    """
    size = 8192 if torch.device(device).type == "cuda" else 1024
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size**3 / timed(lambda: a @ b, device, least_seconds).median


@dataclass(frozen=True)
class Timing:
    """Seconds of one call, in each repeat of a measurement."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median of the repeats, in seconds."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """The slowest repeat less the fastest, as a share of the median."""
        return (max(self.seconds) - min(self.seconds)) / self.median


def timed(
    call: Callable[[], object], device: torch.device | str, least_seconds: float = 0.5
) -> Timing:
    """Seconds a call takes once it is warm; each repeat calls for `least_seconds` at least."""
    device = torch.device(device)

    def seconds(calls: int) -> float:
        _wait(device)
        started = time.perf_counter()
        for _ in range(calls):
            call()
        _wait(device)
        return (time.perf_counter() - started) / calls

    seconds(2)
    calls = max(1, round(least_seconds / seconds(2)))
    return Timing(tuple(seconds(calls) for _ in range(REPEATS)))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
