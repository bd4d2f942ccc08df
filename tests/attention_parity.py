"""Attention of our own against torch's, errors by fp64; for models/test_attention.py.

TRITON_INTERPRET=1 python tests/attention_parity.py cpu, or cuda without.
"""

import json
import sys

import torch
import torch.nn.functional as F
from torch import Tensor

from patch_forcing.models import attention_kernels

SHAPES = ((1, 128, 2, 64), (2, 128, 3, 72), (1, 192, 1, 32), (1, 256, 2, 72), (1, 320, 1, 64))


def results(attend, qkv: Tensor, d_out: Tensor) -> list[Tensor]:
    """What attention gives, (B, N, H, W), and the gradient of its input."""
    qkv = qkv.clone().requires_grad_()
    out = attend(qkv)
    return [out.detach().double(), torch.autograd.grad(out, qkv, d_out)[0].double()]


def by_torch(qkv: Tensor) -> Tensor:
    q, k, v = (x.transpose(1, 2) for x in qkv.unbind(2))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)


def errors(shape: tuple[int, ...], device: str) -> list[tuple[float, float]]:
    """RMS of our error and of torch's: what attention gives, then d_q, d_k, d_v."""
    images, count, heads, width = shape
    torch.manual_seed(0)
    # sharp, as in trained networks: equal weights would hide much
    dtype = torch.bfloat16 if device == "cuda" else torch.float16  # the interpreter has no bf16
    qkv = (2 * torch.randn(images, count, 3, heads, width)).to(device, dtype)
    d_out = torch.randn(shape).to(device, dtype)

    def ours(qkv: Tensor) -> Tensor:
        return attention_kernels.attention(qkv)[0]

    if device == "cuda":
        ours = torch.compile(ours, fullgraph=True, dynamic=False)
    exact = results(by_torch, qkv.double(), d_out.double())
    torchs = results(by_torch, qkv, d_out)
    # NaN, where memory is not written
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.use_deterministic_algorithms(True, warn_only=True)
    own = results(ours, qkv, d_out)
    torch.use_deterministic_algorithms(False)
    triples = zip(*([y, *dy.unbind(2)] for y, dy in (exact, own, torchs)), strict=True)
    return [
        tuple(float((x - right).square().mean().sqrt()) for x in (own, its))
        for right, own, its in triples
    ]


if __name__ == "__main__":
    shapes = SHAPES if sys.argv[1] == "cpu" else (*SHAPES, (3, 1024, 2, 88), (8, 256, 16, 72))
    print(json.dumps([errors(shape, sys.argv[1]) for shape in shapes]))
