"""Images as files hold them → batches that feature networks see, laid out for speed."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

_ON_CPU = 16
"""Images that a CPU sees at once: what a small network makes of more leaves its caches."""


def float_batches(
    images: UInt8[Tensor, "M 3 H W"], device: torch.device | str, batch_size: int
) -> Iterator[Float[Tensor, "_ 3 H W"]]:
    """In [−1, 1] on the device, `batch_size` at once; fewer and channels last on a CPU, where
    convolutions are then about twice as fast.
    """
    on_cpu = torch.device(device).type == "cpu"
    for part in images.split(min(batch_size, _ON_CPU) if on_cpu else batch_size):
        seen = part.to(device).float() / 127.5 - 1
        yield seen.contiguous(memory_format=torch.channels_last) if on_cpu else seen
