"""What to change where memory runs out while training, and to what."""

import gc
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import get_args

import torch

from patch_forcing.core.errors import UserError, is_out_of_memory
from patch_forcing.distributed.ranks import Ranks
from patch_forcing.models.options import Recompute
from patch_forcing.runs.recipe import Recipe


@contextmanager
def enough_memory(recipe: Recipe, ranks: Ranks, place: str) -> Iterator[None]:
    """Where memory runs out, a UserError says what to change; what was taken is given back."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)  # activations live in their variables
        message = f"out of memory {place}: {advice(recipe, ranks.world)}"
    else:
        return
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    raise UserError(message)


def advice(recipe: Recipe, world: int) -> str:
    """Options, with their values, that make the same run take less memory."""
    images = recipe.batch_size // (world * recipe.accumulate)
    options = []
    more = range(2 * recipe.accumulate, recipe.batch_size // world + 1)
    parts = next((k for k in more if recipe.batch_size % (world * k) == 0), None)
    if parts is not None:
        fewer = recipe.batch_size // (world * parts)
        options.append(f"--accumulate {parts} ({fewer} images at a time instead of {images})")
    names = get_args(Recompute)
    after = names[names.index(recipe.recompute_activations) + 1 :]
    options += [f"--recompute-activations {what}" for what in after]
    if world > 1 and recipe.parallel == "replicate":
        options.append("--parallel shard")
    if options:
        return f"the same command goes on with {' or '.join(options)}"
    mend = "a smaller network"
    if images > 1:  # a batch that no other number of parts divides
        mend = f"another --out with --batch-size {world * recipe.accumulate * (images // 2)}"
    return f"{mend}, or --parallel shard on {2 * world} GPUs"
