"""What the backward pass of a block computes again instead of keeping it."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

R = TypeVar("R")

Recompute = Literal["none", "gelu", "cheap", "all"]
"""Nothing that takes time; the outputs of GELU; all but products and attention; or all, from what
went in, which is a third more work (Chen et al. 2016).

Compiled, nothing that takes time are norms and what tokens take of the modulation's rows: computed
again within the kernels that need them, they are neither written nor read (docs/results/speed.md
counts it). Left alone, torch keeps them. GELU's output is the widest tensor of a block, and comes
from one as wide that is kept for GELU's gradient; it has to be written again for the product that
reads it. Not compiled, `gelu` is `cheap`: torch then keeps whatever is not computed again."""

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
