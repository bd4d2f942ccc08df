"""The published design, rebuilt from its description, which ours is measured against.

A condition for every token, blocks compiled one by one, bf16 by autocast over fp32 weights, every
evaluation on all tokens; in training AdamW as torch chooses it and an average updated weight by
weight.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

import patch_forcing as pf
from patch_forcing.core.path import LinearPath
from patch_forcing.data.batch import Batch
from patch_forcing.models.attention import torchs
from patch_forcing.models.dit import PatchDiT
from patch_forcing.models.linear_gelu import plain_linear_gelu
from patch_forcing.runs.parts import timestep_sampler
from patch_forcing.runs.recipe import Recipe


class Published(nn.Module):
    """The published design around the same weights, fp32."""

    def __init__(self, model: PatchDiT, compiled: bool):
        super().__init__()
        self.model, self.patch_size = model, model.patch_size
        self.check_condition, self.drop_condition = model.check_condition, model.drop_condition
        for block in model.blocks:  # no kernels of ours, and what is kept is torch's choice
            block.attn.attend, block.mlp.widen = torchs, plain_linear_gelu
            block.forward = partial(block._run, memory=None, kept=None)
        if compiled:
            for block in model.blocks:
                block.compile()

    def forward(self, x_t: Tensor, t: pf.PatchTime, condition: Tensor | None) -> pf.ModelOutput:
        """Every token has a condition of its own, whatever the times are."""
        with torch.autocast(x_t.device.type, torch.bfloat16):
            return self.model(x_t, pf.PatchTime.dense(t.to_dense()), condition)


def published_step(
    model: PatchDiT, ema: PatchDiT, recipe: Recipe, batch: Batch, compiled: bool
) -> Callable[[], None]:
    """One step as research code takes it."""
    objective = pf.PatchForcingObjective(LinearPath(model.patch_size), timestep_sampler(recipe))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.0)
    published = Published(model, compiled)
    x_1, device = batch.x_1, batch.x_1.device
    generator = torch.Generator(device)  # there: noise drawn on a CPU would have to be copied

    def step() -> None:
        dropped = torch.rand(len(x_1), device=device, generator=generator) < recipe.label_dropout
        condition = model.drop_condition(batch.condition, dropped)
        loss = objective(published, x_1, condition, generator=generator)
        loss.total.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            for average, weight in zip(ema.parameters(), model.parameters(), strict=True):
                average.mul_(0.9999).add_(weight, alpha=1 - 0.9999)

    return step
