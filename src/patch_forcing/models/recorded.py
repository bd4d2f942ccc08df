"""A network's forward pass recorded on a GPU: one CUDA graph for each shape it meets.

Where few tokens are computed, launching the kernels takes longer than running them (measured for
B/2, 77 of 256 tokens of 64 images: 84 ms of kernels in 175 ms).
"""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from patch_forcing.core.active import ActiveTokens
from patch_forcing.core.output import ModelOutput
from patch_forcing.core.time import PatchTime
from patch_forcing.models.conditions import Embedded

_EAGER_CALLS = 2
"""Calls of each shape before it is recorded, by which everything is compiled and loaded."""


class _Shape:
    """Calls of one shape: their inputs at fixed places, and the graph that reads them there."""

    def __init__(self, inputs: list[Tensor | None], form: TreeSpec):
        """form: of the condition, whose parts come last."""
        self.inputs = [None if x is None else x.clone(memory_format=_DENSE) for x in inputs]
        self.form = form
        self._sources: list[tuple[weakref.ref[Tensor], int] | None] = [None] * len(inputs)
        self.eager_calls = 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.output: ModelOutput | None = None
        self.memory: list[Tensor] = []

    def fill(self, inputs: list[Tensor | None]) -> None:
        """Copy what is not there already: texts are the same in all evaluations of a run."""
        for number, new in enumerate(inputs):
            ours, source = self.inputs[number], self._sources[number]
            if ours is None or new is None:
                continue
            if source is None or source[0]() is not new or source[1] != new._version:
                ours.copy_(new)
                self._sources[number] = weakref.ref(new), new._version


class Recorded:
    """Takes the place of `PatchDiT.forward` in sampling; calls with gradients go to the original.

    Its next evaluation of all tokens overwrites the keys and values that it hands out. Memories
    that outlive that copy them.
    """

    def __init__(self, forward: Callable[..., ModelOutput]):
        self._forward = forward
        self._shapes: dict[Any, _Shape] = {}
        self._memories: dict[Any, list[Tensor]] = {}  # one for each shape of keys and values
        self._pool: Any = None

    def __call__(
        self,
        x_t: Tensor,
        t: PatchTime | Tensor,
        condition: Tensor | Embedded | None = None,
        *,
        active: ActiveTokens | None = None,
    ) -> ModelOutput:
        """As `PatchDiT.forward`."""
        if torch.is_grad_enabled() or not isinstance(t, PatchTime):
            return self._forward(x_t, t, condition, active=active)
        parts, form = tree_flatten(condition)  # of texts, keys and values of each block
        inputs = [x_t, t.values, t.index, active and active.tokens, *parts]
        kind = x_t.device.type
        casts = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        key = (active is None, casts, *(x if x is None else (x.shape, x.dtype) for x in inputs))
        if key not in self._shapes:
            self._shapes[key] = _Shape(inputs, form)
        shape = self._shapes[key]
        shape.fill(inputs)
        try:
            with torch.cuda.device_of(x_t):  # a graph is of the current one, which a thread chooses
                return self._call(shape, active)
        except torch.OutOfMemoryError:  # the caller will try fewer images
            self._shapes, self._memories, self._pool = {}, {}, None
            raise

    def _call(self, shape: _Shape, active: ActiveTokens | None) -> ModelOutput:
        if active is not None and active.tokens is not None:
            # where it was recorded; else where the latest evaluation of all tokens leaves them
            own = shape.memory or self._memories.get(_shapes(active.memory), [])
            if not own:  # keys and values have no fixed place yet
                return self._run(shape, active)
            for place, given in zip(own, active.memory, strict=True):
                if place.data_ptr() != given.data_ptr():
                    place.copy_(given)
            active.memory[:] = own  # before the eager calls: a copy has other strides
        if shape.eager_calls < _EAGER_CALLS:
            shape.eager_calls += 1
            return self._run(shape, active)
        if shape.graph is None:
            self._record(shape, active)
        assert shape.graph is not None and shape.output is not None
        shape.graph.replay()
        if active is not None and active.tokens is None:
            active.memory.extend(shape.memory)
        velocity, logvar = shape.output.velocity, shape.output.logvar
        return ModelOutput(velocity.clone(), None if logvar is None else logvar.clone())

    def _record(self, shape: _Shape, active: ActiveTokens | None) -> None:
        graph = torch.cuda.CUDAGraph()
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        memory: list[Tensor] = [] if active is None else list(active.memory)
        within = None if active is None else ActiveTokens(active.tokens, memory)
        # another thread may decode images meanwhile
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            shape.output = self._run(shape, within)
        shape.memory = memory
        if within is not None and within.tokens is None:
            self._memories[_shapes(memory)] = memory
        shape.graph = graph

    def _run(self, shape: _Shape, active: ActiveTokens | None) -> ModelOutput:
        x_t, values, index, tokens, *parts = shape.inputs
        assert x_t is not None and values is not None
        condition = tree_unflatten(parts, shape.form)
        within = None if active is None else ActiveTokens(tokens, active.memory)
        return self._forward(x_t, PatchTime(values, index), condition, active=within)


_DENSE = torch.contiguous_format


def _shapes(memory: list[Tensor]) -> tuple[Any, ...]:
    return tuple((x.shape, x.dtype) for x in memory)
