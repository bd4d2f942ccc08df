"""How fast a network is by itself and in samplers, beside what its machine could do at best."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from patch_forcing.core.random import CountedGenerator
from patch_forcing.core.registry import build
from patch_forcing.core.time import PatchTime
from patch_forcing.generation.condition_kinds import condition_kind
from patch_forcing.models.config import PatchDiTConfig
from patch_forcing.models.cost import Timing, operations, timed
from patch_forcing.models.dit import PatchDiT
from patch_forcing.sampling.field import VelocityField
from patch_forcing.sampling.grids import uniform_grid
from patch_forcing.sampling.samplers import SAMPLERS, steps_within

SAMPLED = ("euler", "dual-loop", "dual-loop:evaluate=moving", "look-ahead")


def random_model(config: PatchDiTConfig, device: torch.device | str = "cpu") -> PatchDiT:
    """A network of no use but the measure: nothing in it is zero, since zeros multiply faster."""
    torch.manual_seed(0)
    with torch.device(device):
        model = PatchDiT(config).eval()
    for weight in model.parameters():
        weight.data.normal_(std=0.02)
    return model


@dataclass(frozen=True)
class Speed:
    """One line of the table.

    images_per_second: of forward passes, or of finished samples. share: of `matrix_rate`, counting
    only the operations that one shared time needs; of a sampler, by its evaluations.
    """

    what: str
    timing: Timing
    images_per_second: float
    share: float
    nfe: float | None = None


def forward_times(model: PatchDiT, batch_size: int) -> dict[str, PatchTime]:
    """One time for all patches, two, and one for each: what networks of this kind are given."""
    device, patches = model.pos_embed.device, model.config.num_patches
    half = torch.arange(patches, device=device).expand(batch_size, -1) % 2 == 0
    dense = torch.rand(batch_size, patches, device=device)
    return {
        "forward, one time": PatchTime.everywhere(0.5, dense, patches),
        "forward, two times": PatchTime.two_level(half, 0.7, 0.5),
        "forward, a time for each patch": PatchTime.dense(dense),
    }


@torch.no_grad()
def speeds(
    model: PatchDiT, batch_size: int, num_calls: int, rate: float, least_seconds: float = 0.5
) -> Iterator[Speed]:
    """Forward passes, then whole runs of samplers, of at most `num_calls` calls of the network.

    rate: `matrix_rate` of the same machine and number type.
    """
    device, config = model.pos_embed.device, model.config
    x = torch.randn(batch_size, config.in_channels, *config.image_size, device=device)
    condition = condition_kind(model).in_turn(batch_size).tensor(device)
    useful = operations(config, 1) * batch_size
    for what, t in forward_times(model, batch_size).items():
        timing = timed(partial(model, x, t, condition), device, least_seconds)
        yield Speed(what, timing, batch_size / timing.median, useful / timing.median / rate)
    field = VelocityField(model, condition)
    for name in SAMPLED:
        timing, nfe = time_sampler(name, field, x, num_calls, least_seconds)
        share = useful * nfe / timing.median / rate
        yield Speed(name, timing, batch_size / timing.median, share, nfe)


def time_sampler(
    name: str, field: VelocityField, x_0: Tensor, num_calls: int, least_seconds: float = 0.5
) -> tuple[Timing, float]:
    """Seconds of a whole run of at most `num_calls` calls of the field, and its evaluations."""
    sampler = build("sampler", SAMPLERS, name)
    # of one patch nothing is left out, so that evaluations are calls
    grid = uniform_grid(steps_within(sampler, num_calls, num_patches=1))
    generator = CountedGenerator(range(len(x_0)), device=x_0.device)
    nfe = 0.0

    def run() -> None:
        nonlocal nfe
        nfe = sampler(field, x_0, grid, generator=generator.fork("sampler")).nfe

    return timed(run, x_0.device, least_seconds), nfe
