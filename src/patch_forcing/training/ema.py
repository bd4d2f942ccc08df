"""The exponential moving average of weights, which samples better than the weights."""

from collections.abc import Iterable

import torch
from torch import Tensor


@torch.no_grad()
def update_ema(
    average: Iterable[Tensor], weights: Iterable[Tensor], step: int, decay: float
) -> None:
    """In place: average ← decay·average + (1 − decay)·weights, after optimizer step `step` ≥ 1.

    The decay is at most step/(step + 9), so that a short run does not remember its start.
    """
    decay = min(decay, step / (step + 9))
    torch._foreach_lerp_(list(average), list(weights), 1 - decay)
