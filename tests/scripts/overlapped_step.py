"""Trains on two ranks, gradients summed during the backward pass and after it; for test_step.py.

torchrun --nproc-per-node 2 -m tests.scripts.overlapped_step cpu|cuda
"""

import dataclasses
import json
import sys

import torch
from torch import Tensor

from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.sources import Digits
from patch_forcing.distributed.ranks import Ranks, join_ranks
from patch_forcing.runs.recipe import Network, Recipe
from patch_forcing.runs.state import initial_state
from patch_forcing.runs.step import TrainStep, side_stream
from patch_forcing.training.options import OptimizerConfig

STEPS = 8


def run(recipe: Recipe, device: str, ranks: Ranks, overlap: bool) -> tuple[list[Tensor], int]:
    """Weights after all steps, and how many graphs were compiled for the loss."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    data = recipe.data.open()
    state = initial_state(recipe, data, device)
    step = TrainStep(state, recipe, device, ranks, pieces=7 * overlap)
    places = ranks.places(recipe.batch_size)
    with side_stream(device):
        for number in range(STEPS):
            step(
                data.batch(BatchSpec(number, recipe.batch_size, recipe.seed, places), device),
                number,
            )
    step.close()
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    return [weight.detach().clone() for weight in state.model.parameters()], graphs


def compared(recipe: Recipe, device: str, ranks: Ranks) -> dict[str, float]:
    """How far the two ways lead apart, and whether ranks hold the same bits."""
    model = initial_state(recipe, recipe.data.open(), device).model
    start = [weight.detach() for weight in model.parameters()]
    (one, _), (other, graphs) = (run(recipe, device, ranks, overlap) for overlap in (False, True))
    moved = torch.stack([(a - b).norm() for a, b in zip(one, start, strict=True)]).norm()
    apart = torch.stack([(a - b).norm() for a, b in zip(one, other, strict=True)]).norm()
    sums = ranks.gather([weight.double().sum().item() for weight in other])
    return {
        "apart": float(apart / moved),
        "bitwise": all(a.equal(b) for a, b in zip(one, other, strict=True)),
        "ranks": sums[0] == sums[1],
        "graphs": graphs,
    }


if __name__ == "__main__":
    device = sys.argv[1]
    recipe = Recipe(
        data=Digits(),
        network=Network(patch_size=2, hidden_size=32, depth=7, num_heads=2),  # a piece each
        optimizer=OptimizerConfig(lr=1e-3, warmup_steps=2),
        steps=STEPS,
        batch_size=16,
        ema_decay=0.9,
    )
    changes = [{}, {"accumulate": 2, "recompute_activations": "cheap"}, {"compile": True}]
    with join_ranks(device) as ranks:
        result = [compared(dataclasses.replace(recipe, **c), device, ranks) for c in changes]
        if ranks.first:
            print(json.dumps(result), flush=True)
