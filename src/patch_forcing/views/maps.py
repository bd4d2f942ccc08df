"""Maps of per-patch numbers: the difficulty of a patch, and how far ahead it was."""

from collections.abc import Sequence
from math import exp
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from patch_forcing.core.patch_grid import patch_grid
from patch_forcing.views.images import enlarge, grid_sheet, text_block
from patch_forcing.views.scales import DIFFICULTY, TIME, Scale

HEAD = 170
"""Width of what stands to the left of a row of maps, in pixels."""
LEVEL = 1e-6
"""Times that differ by less are the same."""


@runtime_checkable
class MapSource(Protocol):
    """What a map shows of an evaluation: all times, and the difficulties if there are any."""

    @property
    def t(self) -> Float[Tensor, "B N"]: ...

    @property
    def difficulty(self) -> Float[Tensor, "B N"] | None: ...


def log_difficulty(trace: Sequence[MapSource]) -> Float[Tensor, "E B N"] | None:
    """The logarithm of the difficulty at each evaluation. None if the model predicts none."""
    maps = [evaluation.difficulty for evaluation in trace if evaluation.difficulty is not None]
    return torch.stack(maps).clamp(min=1e-12).log() if len(maps) == len(trace) else None


def leads(trace: Sequence[MapSource]) -> Float[Tensor, "E B N"]:
    """How far each patch is ahead of its image's mean time, at each evaluation."""
    times = torch.stack([evaluation.t for evaluation in trace])
    return times - times.mean(dim=2, keepdim=True)


def difficulty_scale(logs: Tensor) -> Scale:
    """The scale of log-difficulties, from their 2nd to their 98th percentile."""
    sample = logs.float().flatten()[:: max(1, logs.numel() // 100_000)]
    low, high = torch.quantile(sample, sample.new_tensor([0.02, 0.98])).tolist()
    ends = (f"easy, {exp(low):.2g}", f"{exp(high):.2g}, hard")
    meaning = "difficulty: squared error the model expects (log scale)"
    return Scale(meaning, DIFFICULTY, low, high, ends)


def time_scale(values: Tensor) -> Scale:
    """The scale of leads, up to the greatest; of no leads, where all are level."""
    reach = float(values.abs().max())
    if reach <= LEVEL:
        return Scale("time: the same for all patches", TIME, -1.0, 1.0, ("behind", "ahead"))
    ends = (f"behind, -{reach:.2g}", f"+{reach:.2g}, ahead")
    return Scale("time: lead over the image's mean (root scale)", TIME, -reach, reach, ends, True)


def maps_sheet(
    images: Sequence[Image.Image],
    captions: Sequence[str],
    trace: Sequence[MapSource],
    patch_size: int,
    *,
    title: str = "",
    tile: int = 96,
) -> Image.Image:
    """Draws the images and, below, their difficulty and time lead as means over the run.

    There is no row of difficulty if the model predicts none. tile: about the side of an image in
    pixels.
    """
    width, height = images[0].size
    grid = patch_grid((height, width), patch_size)
    tiles = [enlarge(image, tile) for image in images]
    size = tiles[0].size
    rows, heads = [tiles], [text_block("image", HEAD)]
    logs, lead = log_difficulty(trace), leads(trace).mean(dim=0)
    maps = [(time_scale(lead), lead)]
    if logs is not None:
        mean = logs.mean(dim=0)
        maps.insert(0, (difficulty_scale(mean), mean))
    for scale, values in maps:
        rows.append([scale.draw(value, grid, size) for value in values])
        heads.append(scale.legend(HEAD))
    blank = [[""] * len(images) for _ in maps]
    return grid_sheet(rows, captions=[list(captions), *blank], heads=heads, title=title)
