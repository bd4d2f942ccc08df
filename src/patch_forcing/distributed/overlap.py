"""Gradients summed over ranks while the backward pass goes on, some blocks at a time.

Not DistributedDataParallel: it would have to be told of accumulation, and its hooks see nothing
before a compiled backward pass is over. So blocks are compiled in a few pieces, at whose ends their
gradients leave. Sums within one compiled graph were tried: inductor moves them to its end.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn

from patch_forcing.core.compiling import compiled_in_training
from patch_forcing.distributed.ranks import Ranks
from patch_forcing.models.dit import PatchDiT
from patch_forcing.models.layers import Conditioning

MAX_PIECES = 7
"""The sum of the last one is not hidden; between two, no kernels are fused."""


def cut(model: PatchDiT, blocks: Iterable[nn.Module], pieces: int) -> list[list[nn.Module]]:
    """Blocks of a model, in order, in pieces of one length but for the last.

    All of its blocks make at most `pieces`.
    """
    row, length = list(blocks), -(-len(model.blocks) // pieces)
    return [row[start : start + length] for start in range(0, len(row), length)]


def compile_pieces(model: PatchDiT, pieces: int) -> None:
    """Compile what a model does in training; pieces of one length are compiled once."""
    piece = compiled_in_training(model.run_blocks)

    def run_blocks(blocks: Any, x: Tensor, c: Conditioning) -> Tensor:
        for part in cut(model, blocks, pieces):
            x = piece(part, x, c)
        return x

    model.run_blocks = run_blocks  # type: ignore[method-assign]
    end = model.final_layer
    end.forward = compiled_in_training(end.forward)  # type: ignore[method-assign]


class RunningSums:
    """Sums gradients in place: `begin` before the last backward pass of a step, `finish` after it.

    On a GPU, NCCL sums where they lie, on a stream of its own; that is recorded with the rest.
    """

    def __init__(self, model: PatchDiT, weights: Sequence[nn.Parameter], ranks: Ranks, pieces: int):
        """weights: of the model, and all others that are trained."""
        self._ranks, self._armed = ranks, False
        parts = [
            [weight for block in part for weight in block.parameters() if weight.requires_grad]
            for part in cut(model, model.blocks, pieces)
        ]
        in_blocks = {id(weight) for part in parts for weight in part}
        final = [weight for weight in model.final_layer.parameters() if weight.requires_grad]
        rest = [w for w in weights if id(w) not in in_blocks | set(map(id, final))]
        self._buckets = [*parts, final, rest]
        self._missing = [0] * len(self._buckets)
        self._running: list[dist.Work] = []
        for number, bucket in enumerate(self._buckets):
            for weight in bucket:
                weight.register_post_accumulate_grad_hook(partial(self._arrived, number))

    def begin(self) -> None:
        """From now on, a gradient that arrives is whole but for the sum over ranks."""
        self._armed, self._missing = True, [len(bucket) for bucket in self._buckets]

    def finish(self) -> None:
        """Every rank is left with the same bits, in the gradients of all weights."""
        self._armed = False
        running, self._running = self._running, []
        self._ranks.collect(lambda: [work.wait() for work in running])
        # those that wait for weights without a gradient
        late = [b for b, missing in zip(self._buckets, self._missing, strict=True) if missing]
        if left := [weight.grad for bucket in late for weight in bucket if weight.grad is not None]:
            self._ranks.sum_(left)

    def _arrived(self, number: int, _: Tensor) -> None:
        if not self._armed:
            return
        self._missing[number] -= 1
        if self._missing[number]:
            return
        gradients = [weight.grad for weight in self._buckets[number] if weight.grad is not None]
        self._running.append(self._ranks.begin_sum(gradients))
