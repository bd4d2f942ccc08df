"""Whose image is whose: conditions and seeds of a call, as users of diffusers write them."""

from collections.abc import Sequence

import torch

from patch_forcing.core.errors import UserError, check_range
from patch_forcing.generation.conditions import Conditions

Generators = torch.Generator | Sequence[torch.Generator] | None


def pair(
    conditions: Conditions,
    per_condition: int,
    generator: Generators,
    seeds: Sequence[int] | None,
) -> tuple[list[int], Conditions]:
    """A seed and a condition for each image: `per_condition` images of each condition, in order.

    Seeds are given, or drawn from the generators: from one in turn, from several one each, from
    torch's own if there is none. As many seeds as one wants go round one image of each condition.
    Raises UserError if there are both, or if their number is not that of the images.
    """
    check_range("num_images_per_prompt", per_condition, 1, whole=True)
    count = len(conditions) * per_condition
    if seeds is None:
        seeds = _drawn(generator, count)
    elif generator is not None:
        raise UserError("generator and seeds exclude each other: give one of them")
    seeds = [int(seed) for seed in seeds]
    if per_condition == 1:
        return seeds, conditions.for_seeds(seeds)
    if len(seeds) != count:
        raise UserError(f"{len(seeds)} seeds for {count} images: give one for each")
    places = [place for place in range(len(conditions)) for _ in range(per_condition)]
    return seeds, conditions.by_seed().for_seeds(places)


def _drawn(generator: Generators, count: int) -> list[int]:
    """Seeds, by which the generators move on."""
    if generator is None or isinstance(generator, torch.Generator):
        return [_seed(generator) for _ in range(count)]
    if len(generator) != count:
        raise UserError(f"{len(generator)} generators for {count} images: give one, or one each")
    return [_seed(one) for one in generator]


def _seed(generator: torch.Generator | None) -> int:
    place = "cpu" if generator is None else generator.device
    return int(torch.randint(2**63 - 1, (), generator=generator, device=place))
