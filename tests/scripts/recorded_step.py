"""Trains with the step compiled, and on a GPU recorded, and without; for test_step.py.

python -m tests.scripts.recorded_step cuda
torchrun --nproc-per-node 2 -m tests.scripts.recorded_step cuda
python -m tests.scripts.recorded_step cpu 1    # the first case alone
"""

import dataclasses
import json
import math
import sys

import torch
from torch import Tensor

from patch_forcing.data.batch import Batch
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.sources import Digits
from patch_forcing.distributed.ranks import Ranks, join_ranks
from patch_forcing.runs.recipe import Network, Recipe
from patch_forcing.runs.state import initial_state
from patch_forcing.runs.step import TrainStep, side_stream
from patch_forcing.runs.terms import open_terms
from patch_forcing.training.options import AlignmentConfig, OptimizerConfig

STEPS, FAILS, WARM = 12, 9, 6
"""The failing step is a replay; from WARM on nothing may make the GPU wait."""
CLOSE = 0.02
"""Muon makes orthogonal in bf16; a learning rate kept from the recording gives .3."""


def weights(recipe: Recipe, device: str, ranks: Ranks) -> list[Tensor]:
    """Of the model and of its averages, after all steps."""
    data = recipe.data.open()
    terms = open_terms(recipe, data, device, ranks)
    state = initial_state(recipe, data, device, terms)
    step = TrainStep(state, recipe, device, ranks, terms)
    share = ranks.places(recipe.batch_size)
    batches = [
        data.batch(BatchSpec(k, recipe.batch_size, recipe.seed, share), device)
        for k in range(STEPS)
    ]
    with side_stream(device):
        for number, batch in enumerate(batches):
            if device == "cuda":
                torch.cuda.set_sync_debug_mode("error" if number >= WARM else "default")
            x_1 = batch.x_1 * math.nan if number == FAILS else batch.x_1
            step(Batch(x_1, batch.condition), number)
        if device == "cuda":
            torch.cuda.set_sync_debug_mode("default")
    step.close()
    return [w.detach().clone() for m in state.networks().values() for w in m.parameters()]


def difference(
    optimizer: str, timesteps: str, encoder: str | None, device: str, ranks: Ranks
) -> float:
    """Of the two ways to take the same steps, beside how far the weights went."""
    recipe = Recipe(
        data=Digits(),
        network=Network(patch_size=4, hidden_size=16, depth=1, num_heads=2),
        # still warming up when the step is recorded: a learning rate kept from then would show
        optimizer=OptimizerConfig(optimizer, lr=1e-2, warmup_steps=20),
        timesteps=timesteps,
        alignment=AlignmentConfig(encoder, projector_dim=24) if encoder else AlignmentConfig(),
        steps=STEPS,
        batch_size=64,
        ema_decay=0.9,
    )
    model = initial_state(recipe, recipe.data.open(), device).model
    start = [weight.detach() for weight in model.parameters()]
    plain = weights(recipe, device, ranks)
    compiled = weights(dataclasses.replace(recipe, compile=True), device, ranks)
    moved = [(a - b).norm() for a, b in zip(plain, start * 4, strict=True)]
    apart = [(a - b).norm() for a, b in zip(plain, compiled, strict=True)]
    return float(torch.stack(apart).norm() / torch.stack(moved).norm())


if __name__ == "__main__":
    cases: list[tuple[str, str, str | None]] = [
        (o, t, None) for o in ("adamw", "muon") for t in ("ltg", "ltg:levels=4", "shared-uniform")
    ]
    cases += [("adamw", "ltg", "emoji"), ("muon", "shared-uniform", "emoji")]
    cases = cases[: int(sys.argv[2])] if sys.argv[2:] else cases
    with join_ranks(sys.argv[1]) as ranks:
        results = {
            " ".join(map(str, case)): difference(*case, sys.argv[1], ranks) for case in cases
        }
    print(json.dumps(results))
