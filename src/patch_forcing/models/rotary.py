"""Rotary positions (Su et al. 2021, arXiv 2104.09864), of texts and of patches in a picture.

Scores depend on where two tokens stand relative to each other. Positions of patches are measured
from the middle of the whole picture and scaled by its area, so that a picture of another size or
aspect ratio spans what those of training span.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from patch_forcing.models.embeddings import MAX_PERIOD

Rotation = Float[Tensor, "_ _ 2 half"]
"""Cosines and sines for tokens of all images (1, …) or of each (B, …); half of a head's width."""


def patch_positions(
    grid: tuple[int, int],
    patches: int,
    crop: Float[Tensor, "B 4"] | None = None,
    device: torch.device | str | None = None,
) -> Float[Tensor, "_ N 2"]:
    """Row and column of each patch, row-major, from the middle of the whole picture.

    grid: rows and columns of what is seen. patches: how many a whole picture has where neighbours
    are 1 apart. crop: top, left, bottom and right of what is seen, as shares of the whole picture,
    in [0, 1]; None is (0, 0, 1, 1), the whole, and gives one row of positions for all images.
    """
    if crop is None:
        crop = torch.tensor([[0.0, 0.0, 1.0, 1.0]], device=device)
    corner, extent = crop[:, :2].float(), (crop[:, 2:] - crop[:, :2]).float()  # (B, 2)
    seen = torch.tensor(grid, dtype=torch.float32, device=crop.device)
    whole = seen / extent  # (B, 2), rows and columns of the whole picture
    whole = whole * (patches / whole.prod(1, keepdim=True)).sqrt()  # its sides, in units
    axes = [
        (corner[:, [a]] + extent[:, [a]] * _middles(grid[a], crop.device) - 0.5) * whole[:, [a]]
        for a in (0, 1)
    ]  # (B, rows), (B, columns)
    rows = axes[0][:, :, None].expand(-1, -1, grid[1])
    columns = axes[1][:, None, :].expand(-1, grid[0], -1)
    return torch.stack([rows, columns], dim=-1).flatten(1, 2)


def _middles(count: int, device: torch.device) -> Float[Tensor, " {count}"]:
    return (torch.arange(count, dtype=torch.float32, device=device) + 0.5) / count


def rotation(positions: Float[Tensor, "_ N axes"], width: int) -> Rotation:
    """By what heads of this width turn at these positions; each axis has an equal share of them.

    Angles are position·10000^(−k/K), k = 0 … K − 1, with K = width / (2·axes).
    """
    count = width // (2 * positions.shape[-1])
    steps = torch.arange(count, dtype=torch.float32, device=positions.device) / count
    angle = (positions[..., None] * MAX_PERIOD**-steps).flatten(-2)  # (_, N, width / 2)
    return torch.stack([angle.cos(), angle.sin()], dim=2)


def rotated(
    x: Float[Tensor, "B M parts heads width"], by: Rotation
) -> Float[Tensor, "B M parts heads width"]:
    """Queries and keys, turned; of three parts the last, the values, stay as they are.

    The first half of a head's width is turned against the second. In fp32, whatever x is.
    """
    turning, rest = x[:, :, :2], x[:, :, 2:]
    cos, sin = by[:, :, None, None].unbind(4)  # (_, M, 1, 1, width / 2)
    first, second = turning.float().chunk(2, dim=-1)
    halves = first * cos - second * sin, second * cos + first * sin
    return torch.cat([torch.cat(halves, dim=-1).to(x.dtype), rest], dim=2)
