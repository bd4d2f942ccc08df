"""Tensors on their way to a device."""

import torch
from torch import Tensor


def to_device(x: Tensor, device: torch.device | str) -> Tensor:
    """A copy there, or x if it is there already; the same values as `x.to(device)`.

    A GPU does not wait for it: from ordinary memory, `to` would first wait until all work that was
    sent to the GPU is done, so that it idles while the next step is prepared.
    """
    if x.device.type == "cpu" and torch.device(device).type == "cuda":
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)
