"""Trains on images of three sizes with the step compiled, and on a GPU recorded of each size, and
without; for test_bucketed_training.py.

python -m tests.scripts.bucketed_step cuda
"""

import dataclasses
import json
import sys

import torch
from torch import Tensor

from patch_forcing.data.batch import Batch
from patch_forcing.data.sources import Digits
from patch_forcing.runs.recipe import Network, Recipe
from patch_forcing.runs.state import initial_state
from patch_forcing.runs.step import TrainStep, side_stream
from patch_forcing.training.options import OptimizerConfig

SIZES = ((8, 8), (4, 16), (16, 4))
STEPS = 27
"""Three of each size before it is recorded, and six that are replayed, in turn with the others."""


def batch(number: int, device: str) -> Batch:
    """Noise of one of the sizes, each image of some part of its picture."""
    generator = torch.Generator().manual_seed(number)
    x_1 = torch.randn(32, 1, *SIZES[number % len(SIZES)], generator=generator)
    corner = torch.rand(32, 2, generator=generator) / 3
    labels = torch.randint(10, (32,), generator=generator)
    crop = torch.cat([corner, 1 - corner], dim=1)
    return Batch(x_1.to(device), labels.to(device), crop=crop.to(device))


def weights(recipe: Recipe, device: str) -> list[Tensor]:
    """Of the model and of its averages, after all steps."""
    state = initial_state(recipe, recipe.data.open(), device)
    step = TrainStep(state, recipe, device)
    with side_stream(device):
        for number in range(STEPS):
            step(batch(number, device), number)
    step.close()
    return [w.detach().clone() for m in state.networks().values() for w in m.parameters()]


def difference(optimizer: str, device: str) -> float:
    """Of the two ways to take the same steps, beside how far the weights went."""
    recipe = Recipe(
        data=Digits(),
        network=Network(patch_size=4, hidden_size=16, depth=1, num_heads=2, position="rope"),
        optimizer=OptimizerConfig(optimizer, lr=1e-2, warmup_steps=40),
        steps=STEPS,
        batch_size=32,
        ema_decay=0.9,
    )
    model = initial_state(recipe, recipe.data.open(), device).model
    start = [weight.detach() for weight in model.parameters()]
    plain = weights(recipe, device)
    compiled = weights(dataclasses.replace(recipe, compile=True), device)
    moved = [(a - b).norm() for a, b in zip(plain, start * 4, strict=True)]
    apart = [(a - b).norm() for a, b in zip(plain, compiled, strict=True)]
    return float(torch.stack(apart).norm() / torch.stack(moved).norm())


if __name__ == "__main__":
    print(json.dumps({name: difference(name, sys.argv[1]) for name in ("adamw", "muon")}))
