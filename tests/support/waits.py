"""Counting what makes a GPU wait, on a CPU."""

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
WAITS = {
    aten._local_scalar_dense,
    aten.nonzero,
    aten.masked_select,
    aten._unique2,
    aten.unique_dim,
    aten.equal,
    aten.is_nonzero,
}
"""Operations whose result a CPU has to see: on a GPU each waits for all work before it."""


class CountWaits(TorchDispatchMode):
    """Counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        masks = [index for index in _indices(func, args) if index.dtype == torch.bool]
        self.count += func.overloadpacket in WAITS or len(masks) > 0
        return func(*args, **(kwargs or {}))


def _indices(func, args) -> list[Tensor]:
    if func.overloadpacket not in (aten.index, aten.index_put, aten.index_put_):
        return []
    return [index for index in args[1] if index is not None]


def waits(call) -> int:
    with CountWaits() as counter:
        call()
    return counter.count
