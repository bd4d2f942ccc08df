"""Training steps recorded as CUDA graphs: a small network's thousand kernels take longer to launch
than to run.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from patch_forcing.distributed.ranks import Ranks
from patch_forcing.runs.inputs import Inputs

Update = Callable[[Inputs], Tensor]
"""A step on what it computes from, which gives its losses."""
_EAGER_STEPS = 3
"""Before a graph is recorded: everything is compiled by then, and optimizers have state."""


class _Recording:
    """Steps on inputs of one shape. inputs: the memory that the graph reads."""

    def __init__(self, inputs: Inputs):
        self.inputs = inputs.copy()
        self.eager_steps = _EAGER_STEPS
        self.graph: torch.cuda.CUDAGraph | None = None
        self.result: Tensor | None = None


class Replays:
    """Calls a step, and of each shape of images after a few times what was recorded of it.

    Graphs share their memory: nothing of one is kept while another runs.
    """

    def __init__(self, ranks: Ranks):
        self._ranks = ranks
        self._recordings: dict[torch.Size, _Recording] = {}
        self._pool: Any = None

    def __call__(self, update: Update, inputs: Inputs) -> Tensor:
        """What `update` returns, always the same one, in memory of its own."""
        shape = inputs.x_1.shape
        if shape not in self._recordings:
            self._recordings[shape] = _Recording(inputs)
        recording = self._recordings[shape]
        recording.inputs.fill(inputs)
        if recording.eager_steps:
            recording.eager_steps -= 1
            return update(recording.inputs)
        if recording.graph is None:
            self._record(update, recording)
        assert recording.graph is not None
        recording.graph.replay()
        assert recording.result is not None
        return recording.result.clone()  # the next replay writes there

    def close(self) -> None:
        """Give the recordings back; while they last, NCCL does not end."""
        for recording in self._recordings.values():
            if recording.graph is not None:
                recording.graph.reset()
        self._recordings, self._pool = {}, None

    def _record(self, update: Update, recording: _Recording) -> None:
        graph = recording.graph = torch.cuda.CUDAGraph()
        # NCCL's own thread looks at events meanwhile, which a global recording would forbid
        mode = "global" if self._ranks.world == 1 else "thread_local"
        stream = torch.cuda.current_stream()
        with torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode=mode):
            recording.result = update(recording.inputs)
        self._pool = graph.pool()
