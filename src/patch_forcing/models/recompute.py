"""What the backward pass of a block computes again instead of keeping it."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from patch_forcing.models.options import Recompute

R = TypeVar("R")

_SOONER_COMPUTED = (torch.ops.aten.gather, torch.ops.aten.native_layer_norm)


def recomputing(what: Recompute, run: Callable[..., R], *inputs: Any) -> R:
    """`run(*inputs)`, of which a backward pass computes `what` again."""
    if what == "none" and not torch.compiler.is_compiling():
        return run(*inputs)
    if what == "gelu" and not torch.compiler.is_compiling():
        what = "cheap"
    options: dict[str, Any] = {}
    if what in _POLICIES:
        options["context_fn"] = partial(create_selective_checkpoint_contexts, _POLICIES[what])
    result: R = checkpoint(run, *inputs, use_reentrant=False, **options)
    return result


def _norms_again(_: Any, operation: Any, *_inputs: Any, **_options: Any) -> CheckpointPolicy:
    again = getattr(operation, "overloadpacket", None) in _SOONER_COMPUTED
    return CheckpointPolicy.PREFER_RECOMPUTE if again else CheckpointPolicy.PREFER_SAVE


def _gelu_again(context: Any, operation: Any, *inputs: Any, **_options: Any) -> CheckpointPolicy:
    packet = getattr(operation, "overloadpacket", None)
    # the product after it keeps GELU's output in its own precision
    cast = packet is torch.ops.aten._to_copy and _is_of_gelu(inputs[0])
    if cast or packet is torch.ops.aten.gelu:
        return CheckpointPolicy.PREFER_RECOMPUTE
    return _norms_again(context, operation)


def _is_of_gelu(tensor: Tensor) -> bool:
    return tensor.grad_fn is not None and tensor.grad_fn.name() == "GeluBackward0"


def _keep_products(_: Any, operation: Any, *_inputs: Any, **_options: Any) -> CheckpointPolicy:
    name = str(operation)
    kept = any(part in name for part in (".mm.", ".addmm.", ".bmm.", "attention"))
    return CheckpointPolicy.MUST_SAVE if kept else CheckpointPolicy.PREFER_RECOMPUTE


_POLICIES = {"none": _norms_again, "gelu": _gelu_again, "cheap": _keep_products}
