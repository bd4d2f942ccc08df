"""Attention of a training step: by kernels of our own where they are faster, else torch's."""

from importlib.util import find_spec

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

_KERNELS = torch.version.cuda is not None and find_spec("triton") is not None
if _KERNELS:
    from patch_forcing.models import attention_kernels


def attention(qkv: Float[Tensor, "B N 3 heads width"]) -> Float[Tensor, "B N heads width"]:
    """Each token of an image attends to all of them."""
    if _KERNELS and _trains_on_hopper(qkv) and attention_kernels.fits(qkv.shape[1], qkv.shape[4]):
        return attention_kernels.attention(qkv)[0]
    return torchs(qkv)


def torchs(qkv: Float[Tensor, "B N 3 heads width"]) -> Float[Tensor, "B N heads width"]:
    """The same, as torch computes it."""
    return attention_to(qkv[:, :, 0], qkv[:, :, 1:])


def attention_to(
    q: Float[Tensor, "B M heads width"],
    keys_values: Float[Tensor, "B N 2 heads width"],
    mask: Bool[Tensor, "B N"] | None = None,
) -> Float[Tensor, "B M heads width"]:
    """What queries take from other tokens; mask: from which of them, one at least."""
    q, k, v = (y.transpose(1, 2) for y in (q, *keys_values.unbind(2)))
    seen = None if mask is None else mask[:, None, None]  # (B, 1, 1, N)
    return F.scaled_dot_product_attention(q, k, v, seen).transpose(1, 2)


def _trains_on_hopper(qkv: Tensor) -> bool:
    """Whether our kernels serve: their tiles are chosen for Hopper's shared memory."""
    return (
        qkv.is_cuda
        and qkv.dtype == torch.bfloat16
        and qkv.requires_grad
        and torch.is_grad_enabled()
        and torch.cuda.get_device_properties(qkv.device).major == 9
    )
