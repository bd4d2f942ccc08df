"""Per-patch numbers as pictures: how hard each patch is, and how far ahead it was."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from patch_forcing.core.patches import patch_grid
from patch_forcing.sampling.evaluation import Evaluation
from patch_forcing.views.images import enlarge, grid_sheet

# Anchors of two colour maps of even lightness (viridis and magma; van der Walt & Smith, CC0).
_VIRIDIS = "440154 472c7a 3b518b 2c718e 21908d 27ad81 5cc863 aadc32 fde725"
_MAGMA = "000004 1d1147 51127c 822681 b63679 e65164 fb8861 fec287 fcfdbf"


def _table(anchors: str) -> np.ndarray:
    colours = np.array([list(bytes.fromhex(anchor)) for anchor in anchors.split()])
    at = np.linspace(0, 255, len(colours))
    return np.stack([np.interp(np.arange(256), at, channel) for channel in colours.T], axis=1)


TIME, DIFFICULTY = _table(_VIRIDIS), _table(_MAGMA)
"""Tables of 256 colours: dark is noise and easy, bright is data and hard."""


def patch_map(
    values: Float[Tensor, " N"],
    grid: tuple[int, int],
    colours: np.ndarray,
    bounds: tuple[float, float],
) -> Image.Image:
    """One pixel for each patch, coloured between the bounds."""
    low, high = bounds
    unit = (values.cpu().reshape(grid) - low) / max(high - low, 1e-12)
    return Image.fromarray(
        colours[(unit.clamp(0, 1) * 255).round().long().numpy()].round().astype(np.uint8)
    )


def difficulty_bounds(trace: list[Evaluation]) -> tuple[float, float]:
    """From the 2nd to the 98th percentile of log-difficulty: one scale for all maps of a run."""
    logs = log_difficulty(trace).flatten()
    low, high = torch.quantile(
        logs.float()[:: max(1, len(logs) // 100_000)], logs.new_tensor([0.02, 0.98])
    )
    return float(low), float(high)


def log_difficulty(trace: list[Evaluation]) -> Float[Tensor, "E B N"]:
    """Logarithm of the difficulty at each evaluation; zeros where the model predicts none."""
    maps = [torch.zeros_like(e.t) if e.difficulty is None else e.difficulty for e in trace]
    return torch.stack(maps).clamp(min=1e-12).log()


def mean_lead(trace: list[Evaluation]) -> Float[Tensor, "B N"]:
    """How far each patch was ahead of its image's mean time, averaged over the evaluations."""
    times = torch.stack([e.t for e in trace])
    return (times - times.mean(dim=2, keepdim=True)).mean(dim=0)


def maps_sheet(
    images: Sequence[Image.Image],
    captions: Sequence[str],
    trace: list[Evaluation],
    patch_size: int,
    *,
    tile: int = 96,
) -> Image.Image:
    """For each image: the image, its difficulty and its time lead, means over the run.

    The lead is left out of runs in which no patch ever has one.
    """
    width, height = images[0].size
    grid = patch_grid((height, width), patch_size)
    hard = log_difficulty(trace).mean(dim=0)
    lead = mean_lead(trace)
    reach = float(lead.abs().max())
    hard_bounds = (float(hard.min()), float(hard.max()))
    rows = [
        [enlarge(image, tile) for image in images],
        [_like(patch_map(h, grid, DIFFICULTY, hard_bounds), images[0], tile) for h in hard],
    ]
    titles = ["image", "difficulty (bright: hard)"]
    if reach > 1e-6:
        maps = (patch_map(a, grid, TIME, (-reach, reach)) for a in lead)
        rows.append([_like(one, images[0], tile) for one in maps])
        titles.append("time (bright: ahead)")
    blank = [[""] * len(images) for _ in titles[1:]]
    return grid_sheet(rows, captions=[list(captions), *blank], row_titles=titles)


def _like(small: Image.Image, image: Image.Image, tile: int) -> Image.Image:
    return small.resize(enlarge(image, tile).size, Image.Resampling.NEAREST)
