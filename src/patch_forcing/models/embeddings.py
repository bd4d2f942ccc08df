"""Embeddings of patches, positions and times."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

FREQUENCIES = 128
MAX_PERIOD = 10_000


def sincos_positions(rows: int, cols: int, dim: int) -> Float[Tensor, "{rows}*{cols} {dim}"]:
    """Fixed 2-D positions of a row-major grid: one half of the width for columns, one for rows.

    In each half, sines before cosines, frequencies 10000^(−k/(dim/4)). Columns come first, as in
    published DiT checkpoints.
    """
    omega = MAX_PERIOD ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    row, col = torch.meshgrid(
        torch.arange(rows, dtype=torch.float64),
        torch.arange(cols, dtype=torch.float64),
        indexing="ij",
    )
    halves = []
    for axis in (col, row):
        angle = axis.reshape(-1, 1) * omega
        halves += [angle.sin(), angle.cos()]
    return torch.cat(halves, dim=1).float()


def timestep_features(t: Float[Tensor, "B U"]) -> Float[Tensor, "B U 256"]:
    """Cosines, then sines, of t·exp(−ln(10000)·k/128), k = 0 … 127; t raw, in [0, 1]."""
    k = torch.arange(FREQUENCIES, dtype=torch.float32, device=t.device)
    angle = t.float()[..., None] * torch.exp(-math.log(MAX_PERIOD) * k / FREQUENCIES)
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


class TimestepEmbedder(nn.Module):
    """Times → width D, or the config's `condition_size`, once for each distinct time."""

    def __init__(self, size: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(2 * FREQUENCIES, size), nn.SiLU(), nn.Linear(size, size))

    def forward(self, t: Float[Tensor, "B U"]) -> Float[Tensor, "B U D"]:
        return self.mlp(timestep_features(t).to(next(self.mlp.parameters()).dtype))


class PatchEmbedder(nn.Module):
    """Image → tokens by a strided convolution."""

    def __init__(self, channels: int, hidden_size: int, patch_size: int):
        super().__init__()
        self.proj = nn.Conv2d(channels, hidden_size, patch_size, stride=patch_size)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B N D"]:
        if x.is_cuda:
            return strided_product(x, self.proj)
        return self.proj(x).flatten(2).transpose(1, 2)


def strided_product(x: Float[Tensor, "B C H W"], convolution: nn.Conv2d) -> Float[Tensor, "B N D"]:
    """What a convolution with the stride of its kernel is, token after token in memory.

    A convolution's layout is channel after channel, and the compiler carries it into the blocks:
    three of 57 norms, with a transposition within, took 6 ms of a training step's 252 (XL/2, H100).
    """
    size = convolution.kernel_size[0]
    patches = x.unfold(2, size, size).unfold(3, size, size)  # (B, C, rows, columns, P, P)
    patches = patches.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)  # (B, N, C·P²)
    return F.linear(patches, convolution.weight.flatten(1), convolution.bias)
