"""A time grid for a model, from a few of its own images."""

from collections.abc import Sequence

from patch_forcing.core.random import CountedGenerator
from patch_forcing.generation.condition_kinds import condition_kind
from patch_forcing.generation.generate import check_seeds
from patch_forcing.models.dit import PatchDiT
from patch_forcing.sampling.field import VelocityField
from patch_forcing.sampling.fit import fit_quantiles, local_error


def fit_time_grid(model: PatchDiT, seeds: Sequence[int], num_steps: int = 48) -> tuple[float, ...]:
    """Quantiles for a second-order sampler without guidance, on all conditions. Not stored.

    Raises UserError for seeds out of range.
    """
    check_seeds(seeds)
    device, config = model.pos_embed.device, model.config
    noise = CountedGenerator(seeds, device=device).fork("noise")
    condition = condition_kind(model).evenly(len(seeds)).tensor(device)
    x_0 = noise.normal(config.in_channels, *config.image_size)
    return fit_quantiles(local_error(VelocityField(model, condition), x_0, num_steps))
