"""The exponential moving average of weights, which samples better than the weights."""

from collections.abc import Iterable

import torch
from torch import Tensor


def ema_share(step: int, decay: float) -> float:
    """The share of the new weights in the average, after optimizer step `step` ≥ 1.

    The decay is at most step/(step + 9), so that a short run does not remember its start.
    """
    return 1 - min(decay, step / (step + 9))


@torch.no_grad()
def update_ema(average: Iterable[Tensor], weights: Iterable[Tensor], share: float | Tensor) -> None:
    """In place: average ← average + share·(weights − average)."""
    average = list(average)
    change = torch._foreach_sub(list(weights), average)
    torch._foreach_mul_(change, share)
    torch._foreach_add_(average, change)
