"""Functions compiled whole by torch's compiler, with the settings that pay for our networks."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch._functorch import config as functorch_config

_P = ParamSpec("_P")
_R = TypeVar("_R")

_GPU_OPTIONS = {
    # Rows of more than 1,024 numbers (XL's are 1,152) held in registers where that is faster, by
    # trial: norms and their gradients take a tenth less.
    "triton.multi_kernel": 1
}


def compiled(function: Callable[_P, _R], kept_activations: float = 1.0) -> Callable[_P, _R]:
    """One graph for each shape that occurs; a function that cannot be one raises torch's error.

    kept_activations: of what the backward pass reads, the share that is kept; the rest is computed
    again (Chen et al. 2016; which, torch's partitioner chooses).
    """

    # A backend of its own, so that the same function with another share is another graph.
    def backend(graph: torch.fx.GraphModule, inputs: Any) -> Any:
        from torch._inductor.compile_fx import compile_fx  # slow to import

        on_gpu = any(isinstance(x, torch.Tensor) and x.is_cuda for x in inputs)
        with functorch_config.patch(activation_memory_budget=kept_activations):
            return compile_fx(graph, inputs, config_patches=_GPU_OPTIONS if on_gpu else None)

    return torch.compile(function, fullgraph=True, dynamic=False, backend=backend)
