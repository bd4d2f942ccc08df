"""A linear layer and GELU as one: what is widest in a block is passed over least."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def linear_gelu(x: Float[Tensor, "B N D"], linear: nn.Linear) -> Float[Tensor, "B N E"]:
    """The tanh form of GELU of a linear layer.

    On a GPU, of half-precision weights that are not trained, it is within the product, which keeps
    nothing for a backward pass. Compiled to be trained, an fp32 bias has a row for each image, so
    that its gradient is summed where GELU's is computed: one over all tokens would read that again.
    """
    weight, bias = linear.weight, linear.bias
    if not is_plain(linear):
        return plain_linear_gelu(x, linear)
    if not torch.is_grad_enabled():
        quantised = type(weight) is not nn.Parameter
        if not quantised and weight.is_cuda and weight.dtype.itemsize == 2:
            rows = torch._addmm_activation(bias, x.flatten(0, 1), weight.t(), use_gelu=True)
            return rows.unflatten(0, x.shape[:2])
    elif torch.compiler.is_compiling() and bias.dtype == torch.float32:
        return F.gelu(F.linear(x, weight) + bias.expand(len(x), 1, -1), approximate="tanh")
    return plain_linear_gelu(x, linear)


def is_plain(linear: nn.Linear) -> bool:
    """Whether calling it is its product and no more: no adapter around it, no hook."""
    return type(linear) is nn.Linear and not (linear._forward_hooks or linear._forward_pre_hooks)


def plain_linear_gelu(x: Float[Tensor, "B N D"], linear: nn.Linear) -> Float[Tensor, "B N E"]:
    """One after the other."""
    return F.gelu(linear(x), approximate="tanh")
