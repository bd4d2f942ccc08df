"""What a step keeps for its backward pass; as a script, of a compiled one, for test_estimate."""

import dataclasses
import json
import sys

import torch
from torch import Tensor

from patch_forcing.data.batch import TrainingData
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.sources import Digits
from patch_forcing.runs.recipe import Network, Recipe
from patch_forcing.runs.state import initial_state
from patch_forcing.runs.step import TrainStep

WIDER = Recipe(
    data=Digits(),
    network=Network(patch_size=1, hidden_size=256, depth=3, num_heads=2),
    batch_size=16,
)


def kept_by_a_step(recipe: Recipe, data: TrainingData) -> int:
    """Bytes, weights apart."""
    state = initial_state(recipe, data, "cpu")
    weights = {weight.untyped_storage().data_ptr() for weight in state.model.parameters()}
    kept = {}

    def pack(x: Tensor) -> Tensor:
        if x.untyped_storage().data_ptr() not in weights:
            kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes(), x
        return x

    batch = data.batch(BatchSpec(0, recipe.batch_size, recipe.seed))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        TrainStep(state, recipe, "cpu")(batch, 0)
    return sum(size for size, _ in kept.values())


if __name__ == "__main__":
    changes = json.loads(sys.argv[1])
    recipe = dataclasses.replace(WIDER, **changes, compile=True)
    print(kept_by_a_step(recipe, recipe.data.open()))
