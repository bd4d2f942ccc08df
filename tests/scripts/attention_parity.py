"""Attention of our own against torch's, errors by fp64; for models/test_attention.py.

TRITON_INTERPRET=1 python -m tests.scripts.attention_parity cpu; without, cuda or network.
"""

import copy
import json
import sys

import torch
from torch import Tensor, nn

import patch_forcing as pf
from patch_forcing.models import attention_kernels
from patch_forcing.models.attention import torchs

SHAPES = ((1, 128, 2, 64), (2, 128, 3, 72), (1, 192, 1, 32), (1, 256, 2, 72), (1, 320, 1, 64))


def results(attend, qkv: Tensor, d_out: Tensor) -> list[Tensor]:
    """What attention gives, (B, N, H, W), and the gradient of its input."""
    qkv = qkv.clone().requires_grad_()
    out = attend(qkv)
    return [out.detach().double(), torch.autograd.grad(out, qkv, d_out)[0].double()]


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
    exact = results(torchs, qkv.double(), d_out.double())
    its = results(torchs, qkv, d_out)
    # NaN, where memory is not written
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.use_deterministic_algorithms(True, warn_only=True)
    own = results(ours, qkv, d_out)
    torch.use_deterministic_algorithms(False)
    triples = zip(*([y, *dy.unbind(2)] for y, dy in (exact, own, its)), strict=True)
    return [tuple(rms(x - right) for x in (own, its)) for right, own, its in triples]


def rms(x: Tensor) -> float:
    return float(x.square().mean().sqrt())


def network_errors() -> list[tuple[float, float]]:
    """The same for each weight's gradient in a compiled network, as a step of training takes it."""
    torch.manual_seed(0)
    config = pf.PatchDiTConfig(
        input_size=(32, 32), patch_size=2, hidden_size=144, depth=2, num_heads=2, num_classes=4
    )
    model = pf.PatchDiT(config).cuda()
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.05)  # gates that start at zero would hide attention
    x, goal = torch.randn(2, 4, 4, 32, 32, device="cuda")
    half = torch.arange(256, device="cuda").expand(4, -1) % 2 == 0
    time, labels = pf.PatchTime.two_level(half, 0.7, 0.5), torch.arange(4, device="cuda")

    def gradients(precision: torch.dtype, by_torch: bool) -> list[Tensor]:
        own = copy.deepcopy(model)
        for block in own.blocks:
            if by_torch:
                block.attn.attend = torchs
        own.compile(fullgraph=True)
        with torch.autocast("cuda", precision, enabled=precision != torch.float32):
            loss = (own(x, time, labels).velocity - goal).square().mean()
        return torch.autograd.grad(loss, list(own.parameters()), materialize_grads=True)

    exact = gradients(torch.float32, True)
    pairs = zip(
        gradients(torch.bfloat16, False), gradients(torch.bfloat16, True), exact, strict=True
    )
    return [(rms(own - right), rms(its - right)) for own, its, right in pairs]


if __name__ == "__main__":
    if sys.argv[1] == "network":
        print(json.dumps(network_errors()))
        raise SystemExit
    shapes = SHAPES if sys.argv[1] == "cpu" else (*SHAPES, (3, 1024, 2, 88), (8, 256, 16, 72))
    print(json.dumps([errors(shape, sys.argv[1]) for shape in shapes]))
