"""Embeddings of position, time and label."""

import math

import torch
from jaxtyping import Float, Int64
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
    """Times → width D, once for each distinct time."""

    def __init__(self, hidden_size: int):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(2 * FREQUENCIES, hidden_size), nn.SiLU(), nn.Linear(hidden_size, hidden_size)
        )

    def forward(self, t: Float[Tensor, "B U"]) -> Float[Tensor, "B U D"]:
        return self.mlp(timestep_features(t).to(next(self.mlp.parameters()).dtype))


class LabelEmbedder(nn.Module):
    """Labels → width D; the row at index `num_classes` is the null condition."""

    def __init__(self, num_classes: int, hidden_size: int):
        super().__init__()
        self.embedding_table = nn.Embedding(num_classes + 1, hidden_size)

    def forward(self, labels: Int64[Tensor, " B"]) -> Float[Tensor, "B D"]:
        return self.embedding_table(labels)
