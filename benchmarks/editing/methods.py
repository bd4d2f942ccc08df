"""Ways to repaint a part of an image with the same weights, by Euler steps of one grid."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from patch_forcing.core.patches import spread
from patch_forcing.core.time import PatchTime
from patch_forcing.sampling.adams_bashforth import AdamsBashforthSampler
from patch_forcing.sampling.edit_field import EditField, EditMap
from patch_forcing.sampling.euler import EulerSampler
from patch_forcing.sampling.evaluation import SampleResult
from patch_forcing.sampling.field import Field, FieldOutput


@dataclass(frozen=True)
class Task:
    """One mask on a batch of images.

    mask: (H, W), how much each pixel may change. map: for the edit by time. whole: the same, but
    pixels that are kept within patches that move are painted, too. x_0: (B, C, H, W), the noise.
    """

    mask: Float[Tensor, "H W"]
    map: EditMap
    whole: EditMap
    x_0: Float[Tensor, "B C H W"]
    grid: list[float]


@dataclass(frozen=True)
class OneClockField:
    """Differential Diffusion's rule (Levin & Fried 2023, arXiv 2306.00950) for a flow of one clock:
    until the clock passes 1 − m, a pixel is the original, noised to the clock's time.

    A pixel that is held so moves with velocity (c − x)/(1 − s), along its own straight path.
    """

    field: Field
    task: Task

    @property
    def patch_size(self) -> int:
        """P."""
        return self.field.patch_size

    def __call__(self, x_t: Tensor, t: PatchTime, *, guided: bool = True) -> FieldOutput:
        """t: one time for all."""
        output = self.field(x_t, t, guided=guided)
        s = float(t.values[0, 0])
        waits = self.task.mask < 1 - s
        straight = (self.task.map.original - x_t) / (1 - s)
        return output._replace(velocity=torch.where(waits, straight, output.velocity))


def by_time(field: Field, task: Task) -> SampleResult:
    """Patches start at 1 − m and arrive together."""
    return _finished(EulerSampler()(EditField(field, task.map), task.x_0, task.grid), task.map)


def by_time_second_order(field: Field, task: Task) -> SampleResult:
    """The same, by Adams–Bashforth, the default of the command."""
    sampler = AdamsBashforthSampler()
    return _finished(sampler(EditField(field, task.map), task.x_0, task.grid), task.map)


def by_time_whole_patches(field: Field, task: Task) -> SampleResult:
    """The same by Euler, without holding kept pixels of patches that move on their path."""
    return _finished(EulerSampler()(EditField(field, task.whole), task.x_0, task.grid), task.whole)


def by_time_waiting(field: Field, task: Task) -> SampleResult:
    """Patches wait at 1 − m until the clock passes it, and are at the clock's time from then on."""
    edit, x_0 = task.map, task.x_0
    start = (1 - edit.strength).expand(len(x_0), -1)
    x, size, patch = edit.image(x_0), x_0.shape[-2:], edit.patch_size
    nfe = 0.0
    with torch.no_grad():
        for now, then in zip(task.grid, task.grid[1:], strict=False):
            before, after = start.clamp(min=now), start.clamp(min=then)
            output = field(x, PatchTime.dense(before))
            nfe += output.evaluations
            x = x + spread(after - before, size, patch) * output.velocity
            t = spread(after, size, patch)
            x = torch.where(edit.fixed, t * edit.original + (1 - t) * x_0, x)
    return SampleResult(x, nfe, None, torch.ones_like(start), x.new_full((len(x),), nfe))


def one_clock(field: Field, task: Task) -> SampleResult:
    """Differential Diffusion's rule, with the same time for all patches."""
    return EulerSampler()(OneClockField(field, task), task.x_0, task.grid)


def pasted(field: Field, task: Task) -> SampleResult:
    """A whole new image, mixed with the original as the mask says."""
    result = EulerSampler()(field, task.x_0, task.grid)
    mixed = torch.lerp(task.map.original, result.x_1, task.mask.expand_as(result.x_1))
    return _with(result, mixed)


def _finished(result: SampleResult, edit: EditMap) -> SampleResult:
    return _with(result, edit.finished(result.x_1))


def _with(result: SampleResult, x_1: Tensor) -> SampleResult:
    return SampleResult(x_1, result.nfe, result.trace, result.t, result.image_nfe)


METHODS: dict[str, Callable[[Field, Task], SampleResult]] = {
    "by time": by_time,
    "by time, second order": by_time_second_order,
    "by time, whole patches": by_time_whole_patches,
    "by time, waiting": by_time_waiting,
    "one clock": one_clock,
    "pasted": pasted,
}
