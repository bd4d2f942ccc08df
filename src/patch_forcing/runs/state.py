"""What training carries from step to step, and what it begins with."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

import torch
from torch import nn

from patch_forcing.core.errors import UserError
from patch_forcing.data.batch import TrainingData
from patch_forcing.distributed.ranks import ALONE, Ranks
from patch_forcing.distributed.shards import (
    WholeMatrices,
    own_part,
    rank_mesh,
    shard_,
    whole_is_small,
)
from patch_forcing.models.dit import PatchDiT
from patch_forcing.runs.parts import build_network
from patch_forcing.runs.recipe import Recipe
from patch_forcing.runs.terms import RunTerm
from patch_forcing.training.muon import Muon
from patch_forcing.training.optim import build_optimizers
from patch_forcing.training.posthoc_ema import WIDTHS
from patch_forcing.training.terms import Term


class TrainingState(NamedTuple):
    """What training carries from step to step. Randomness needs no state: it is counted.

    terms: of the objective; what they hold is trained with the model, and of no use to those who
    sample from it.
    """

    model: PatchDiT
    ema: PatchDiT
    optimizers: list[torch.optim.Optimizer]
    power: tuple[PatchDiT, ...] = ()
    """Averages by a power function, one of each of WIDTHS, or none."""
    terms: tuple[Term, ...] = ()

    def trained(self) -> list[nn.Parameter]:
        """All weights that are."""
        more = (module.parameters() for module in self.term_modules().values())
        return [*self.trained_of(self.model), *chain.from_iterable(more)]

    def trained_of(self, network: PatchDiT) -> list[nn.Parameter]:
        """Of the model or an average, the weights that are trained in the model."""
        pairs = zip(network.parameters(), self.model.parameters(), strict=True)
        return [weight for weight, own in pairs if own.requires_grad]

    def term_modules(self) -> dict[str, nn.Module]:
        """What is trained for terms alone, by the names of files."""
        return {name: module for term in self.terms for name, module in term.modules.items()}

    def averages(self) -> tuple[PatchDiT, ...]:
        """The usual one first."""
        return self.ema, *self.power

    def power_networks(self) -> dict[str, PatchDiT]:
        """By the name of their folders."""
        return {power_name(width): one for width, one in zip(WIDTHS, self.power, strict=False)}

    def networks(self) -> dict[str, PatchDiT]:
        """All, by the name of their folders."""
        return {"model": self.model, "ema": self.ema, **self.power_networks()}


def power_name(width: float) -> str:
    """The folder of a kept average."""
    return f"ema-{width:.2f}"


def initial_state(
    recipe: Recipe,
    data: TrainingData,
    device: torch.device | str,
    terms: Sequence[RunTerm] = (),
    *,
    ranks: Ranks = ALONE,
    begin: Callable[[PatchDiT], None] | None = None,
) -> TrainingState:
    """Weights from the recipe's seed, leaving the caller's random state alone.

    terms: of the objective, made after the model. ranks: one alone has nobody to share with.
    begin: may change the weights, before averages begin from them.
    Raises UserError if the model is to be sharded, but has terms.
    """
    sharded = recipe.parallel == "shard" and ranks.world > 1
    if sharded and terms:
        raise UserError("parallel=shard with terms whose weights are not sharded: leave them out")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = build_network(recipe.network, data)
        if not sharded:  # else the whole model need not fit
            model = model.to(device)
        # after the model, in whose weights they have no say
        built = tuple(term.build(recipe.network) for term in terms)
    if begin is not None:
        with ranks.together():
            begin(model)
    model.sampling_info = recipe.sampling_info(data)
    model.recompute_activations = recipe.recompute_activations
    model.time_nodes = recipe.time_nodes
    config = recipe.optimizer
    if recipe.train_only == "difficulty":
        model.train_difficulty_alone()
        config = replace(config, name="adamw", weight_decay=0.0)  # which would move other rows too
    count = 1 + len(WIDTHS) if recipe.snapshot_interval() else 1
    if sharded:
        ranks.copy_first_(model.parameters())
    ema, *power = (copy.deepcopy(model).eval().requires_grad_(False) for _ in range(count))
    if not sharded:
        state = TrainingState(model, ema, [], tuple(power), built)
        for module in state.term_modules().values():
            module.to(device)
        optimizers = build_optimizers(config, state.trained(), model.hidden_matrices())
        return state._replace(optimizers=optimizers)
    mesh, bf16 = rank_mesh(torch.device(device)), recipe.precision == "bf16"
    for average in (ema, *power):
        shard_(average, mesh)
    keep = whole_is_small(model, torch.device(device), bf16=bf16)
    shard_(model, mesh, bf16=bf16, compile=recipe.compile, keep=keep)
    parts = (map(own_part, weights) for weights in (model.parameters(), model.hidden_matrices()))
    optimizers = build_optimizers(config, *parts)
    for optimizer in optimizers:
        if isinstance(optimizer, Muon):
            optimizer.shards = WholeMatrices(mesh)
    return TrainingState(model, ema, optimizers, tuple(power))
