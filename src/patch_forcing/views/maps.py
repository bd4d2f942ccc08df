"""Maps of per-patch numbers: the difficulty of a patch, and how far ahead it was."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from patch_forcing.core.patches import patch_grid
from patch_forcing.views.images import enlarge, grid_sheet


@runtime_checkable
class MapSource(Protocol):
    """What a map shows of an evaluation: all times, and the difficulties if there are any."""

    @property
    def t(self) -> Float[Tensor, "B N"]: ...

    @property
    def difficulty(self) -> Float[Tensor, "B N"] | None: ...


# Anchors of two colour maps of even lightness (viridis and magma; van der Walt & Smith, CC0).
_VIRIDIS = "440154 472c7a 3b518b 2c718e 21908d 27ad81 5cc863 aadc32 fde725"
_MAGMA = "000004 1d1147 51127c 822681 b63679 e65164 fb8861 fec287 fcfdbf"


def _table(anchors: str) -> np.ndarray:
    colours = np.array([list(bytes.fromhex(anchor)) for anchor in anchors.split()])
    at = np.linspace(0, 255, len(colours))
    return np.stack([np.interp(np.arange(256), at, channel) for channel in colours.T], axis=1)


TIME, DIFFICULTY = _table(_VIRIDIS), _table(_MAGMA)
"""Tables of 256 colours. Dark is noise or easy, bright is data or hard."""


def patch_map(
    values: Float[Tensor, " N"],
    grid: tuple[int, int],
    colours: np.ndarray,
    bounds: tuple[float, float],
) -> Image.Image:
    """Draws one pixel for each patch. The bounds take the first and the last colour."""
    low, high = bounds
    unit = (values.cpu().reshape(grid) - low) / max(high - low, 1e-12)
    return Image.fromarray(
        colours[(unit.clamp(0, 1) * 255).round().long().numpy()].round().astype(np.uint8)
    )


def difficulty_bounds(trace: Sequence[MapSource]) -> tuple[float, float]:
    """The 2nd and 98th percentile of log-difficulty, the common scale of all maps of a run."""
    logs = log_difficulty(trace).flatten()
    low, high = torch.quantile(
        logs.float()[:: max(1, len(logs) // 100_000)], logs.new_tensor([0.02, 0.98])
    )
    return float(low), float(high)


def log_difficulty(trace: Sequence[MapSource]) -> Float[Tensor, "E B N"]:
    """The logarithm of the difficulty at each evaluation. It is 0 if the model predicts none."""
    maps = [torch.zeros_like(e.t) if e.difficulty is None else e.difficulty for e in trace]
    return torch.stack(maps).clamp(min=1e-12).log()


def mean_lead(trace: Sequence[MapSource]) -> Float[Tensor, "B N"]:
    """How far each patch was ahead of its image's mean time, averaged over the evaluations."""
    times = torch.stack([e.t for e in trace])
    return (times - times.mean(dim=2, keepdim=True)).mean(dim=0)


def maps_sheet(
    images: Sequence[Image.Image],
    captions: Sequence[str],
    trace: Sequence[MapSource],
    patch_size: int,
    *,
    tile: int = 96,
) -> Image.Image:
    """Draws the images and, below, their difficulty and time lead as means over the run.

    The lead is left out if no patch is ever ahead. tile: the side of an image in pixels.
    """
    width, height = images[0].size
    grid = patch_grid((height, width), patch_size)
    logs = log_difficulty(trace).mean(dim=0)
    lead = mean_lead(trace)
    reach = float(lead.abs().max())
    bounds = (float(logs.min()), float(logs.max()))
    rows = [
        [enlarge(image, tile) for image in images],
        [_like(patch_map(log, grid, DIFFICULTY, bounds), images[0], tile) for log in logs],
    ]
    titles = ["image", "difficulty (bright: hard)"]
    if reach > 1e-6:
        maps = (patch_map(ahead, grid, TIME, (-reach, reach)) for ahead in lead)
        rows.append([_like(small, images[0], tile) for small in maps])
        titles.append("time (bright: ahead)")
    blank = [[""] * len(images) for _ in titles[1:]]
    return grid_sheet(rows, captions=[list(captions), *blank], row_titles=titles)


def _like(small: Image.Image, image: Image.Image, tile: int) -> Image.Image:
    return small.resize(enlarge(image, tile).size, Image.Resampling.NEAREST)
