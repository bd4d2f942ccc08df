"""One optimizer step of a recipe."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from patch_forcing.core.compiling import compiled
from patch_forcing.core.losses import LossTerms
from patch_forcing.core.path import LinearPath
from patch_forcing.core.random import CountedGenerator
from patch_forcing.core.time import PatchTime
from patch_forcing.data.batch import Batch
from patch_forcing.distributed.overlap import MAX_PIECES, RunningSums, compile_pieces
from patch_forcing.distributed.ranks import ALONE, Ranks
from patch_forcing.distributed.shards import is_sharded, own_part, take_gradients
from patch_forcing.models.dit import PatchDiT
from patch_forcing.runs.inputs import Inputs
from patch_forcing.runs.parts import timestep_sampler
from patch_forcing.runs.recipe import Recipe
from patch_forcing.runs.replays import Replays
from patch_forcing.runs.state import TrainingState
from patch_forcing.runs.step_weights import (
    Halves,
    gradient_leaves,
    half_weights,
    total_norm,
    weight_groups,
    with_halves,
)
from patch_forcing.runs.terms import RunTerm
from patch_forcing.training.ema import ema_share, update_ema
from patch_forcing.training.objective import PatchForcingObjective
from patch_forcing.training.optim import take_step
from patch_forcing.training.posthoc_ema import WIDTHS, power_share
from patch_forcing.training.update import adamw_pass, update_at_once


class _Computed(NamedTuple):
    """What is compiled. It knows nothing of its step, which would else outlive its last user."""

    objective: PatchForcingObjective
    label_dropout: float

    def draw(
        self, x_1: Tensor, generator: CountedGenerator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Which labels are dropped, noise and times."""
        dropped = generator.fork("label dropout").uniform() < self.label_dropout
        t = self.objective.draw_times(x_1, generator)
        return dropped, self.objective.draw_noise(x_1, generator), t.values, t.index

    def loss(
        self,
        model: PatchDiT,
        halves: Halves,
        x_1: Tensor,
        condition: Tensor | None,
        dropped: Tensor,
        x_0: Tensor,
        values: Tensor,
        index: Tensor | None,
        crop: Tensor | None,
        terms: tuple[Tensor, ...],
    ) -> LossTerms:
        """Of a part of the batch. halves: in place of the model's weights of these names.

        terms: the inputs of the objective's.
        """
        if condition is not None:
            condition = model.drop_condition(condition, dropped)
        time = PatchTime(values, index)
        network = with_halves(model, halves)
        return self.objective(network, x_1, condition, x_0=x_0, t=time, crop=crop, inputs=terms)


class TrainStep:
    """Changes weights, optimizers and averages of a training state in place.

    All randomness is counted by (seed, step, place in the batch). A step whose loss or gradient is
    not finite, on any rank, changes nothing on all. Compiled, on a GPU, the step is recorded as one
    CUDA graph, of each shape of images.

    Ranks, and the recipe's `accumulate` parts of each rank's share, add up to the gradient of the
    mean over the whole batch: the same but for the rounding of sums.

    terms: what gives the inputs of the state's, in their order.
    """

    def __init__(
        self,
        state: TrainingState,
        recipe: Recipe,
        device: torch.device | str,
        ranks: Ranks = ALONE,
        terms: Sequence[RunTerm] = (),
        *,
        pieces: int | None = None,
    ):
        """pieces: of a model, whose gradients are summed over ranks while the backward pass of the
        next one goes on; 0: all after it, which is faster on one host, and what None means there.
        """
        self._state, self._recipe, self._device = state, recipe, torch.device(device)
        self._ranks, self._first_place = ranks, ranks.places(recipe.batch_size).start
        objective = PatchForcingObjective(
            LinearPath(state.model.patch_size),
            timestep_sampler(recipe),
            recipe.nll_weight,
            state.terms,
            difficulty_alone=recipe.train_only == "difficulty",
        )
        assert len(terms) == len(state.terms)
        self._terms = tuple(terms)
        self._sharded = is_sharded(state.model)
        self._sums: RunningSums | None = None
        # two H200: sums take 10 of 238 ms at the end, but 12 beside kernels that they slow down
        self._pieces = pieces if pieces is not None else 0 if ranks.one_host else MAX_PIECES
        if self._pieces and ranks.world > 1 and not self._sharded:
            self._sums = RunningSums(state.model, state.trained(), ranks, self._pieces)
        computed = _Computed(objective, recipe.label_dropout)
        self._draw, self._loss = computed.draw, computed.loss
        if recipe.compile:
            # apart: in one graph, draws would be computed again wherever they are used
            self._draw = compiled(computed.draw)
            self._loss = self._compiled(computed.loss)
        # gathering and forgetting weights is the host's work, and part of no graph
        on_gpu = recipe.compile and self._device.type == "cuda"
        self._replays = on_gpu and not self._sharded
        # one pass over the memory instead of three
        self._update_ema = compiled(update_ema) if on_gpu else update_ema
        self._at_once = self._replays and recipe.optimizer.name == "adamw"
        self._one_pass = compiled(adamw_pass) if self._at_once else adamw_pass
        self._halves: Halves = {}
        # sums over parts and ranks are of fp32
        single = recipe.accumulate == ranks.world == 1
        if self._at_once and recipe.precision == "bf16" and single:
            self._halves = half_weights(state.model)
        self._recorded = Replays(ranks)

    def __call__(self, batch: Batch, step: int) -> tuple[LossTerms, Tensor]:
        """Step 0, 1, … on this rank's share of a batch.

        Returns the loss of the whole batch and its gradient's norm before clipping.
        """
        inputs = self.inputs(batch, step)
        replays = self._replays
        result = self._recorded(self._update, inputs) if replays else self._update(inputs)
        total, velocity, nll, *others, norm = result.unbind()
        names = (term.name for term in self._state.terms)
        return LossTerms(total, velocity, nll, dict(zip(names, others, strict=True))), norm

    def inputs(self, batch: Batch, step: int, *, terms: bool = True) -> Inputs:
        """All that a step sees: those of the ranks, one after the other, are those of one alone.

        terms: False leaves out those of the objective's terms, for who looks at velocities only.
        """
        recipe = self._recipe
        places = torch.arange(len(batch.x_1), device=self._device) + self._first_place
        generator = CountedGenerator(recipe.seed, places, step, self._device)
        drawn = self._draw(batch.x_1, generator)
        narrow, wide = (self._scalar(power_share(step + 1, width)) for width in WIDTHS)
        return Inputs(
            batch.x_1,
            batch.condition,
            *drawn,
            batch.crop,
            self._scalar(recipe.optimizer.lr_at(step, recipe.steps)),
            self._scalar(ema_share(step + 1, recipe.ema_decay)),
            narrow,
            wide,
            tuple(term.inputs(batch, step) for term in self._terms) if terms else (),
        )

    def close(self) -> None:
        """Give recordings back; while they last, NCCL does not end."""
        self._recorded.close()

    def _update(self, inputs: Inputs) -> Tensor:
        """Forward, backward, optimizers, averages; the losses and the gradient's norm."""
        model, recipe = self._state.model, self._recipe
        bf16 = recipe.precision == "bf16"
        share = self._scalar(1 / (self._ranks.world * recipe.accumulate))
        losses = torch.zeros(3 + len(self._terms), device=self._device)
        for number, part in enumerate(inputs.parts(recipe.accumulate), 1):
            with torch.autocast(self._device.type, torch.bfloat16, enabled=bf16):
                loss = self._loss(model, self._halves, *part)
            if self._sums is not None and number == recipe.accumulate:
                self._sums.begin()
            loss.total.backward(share)
            losses += torch.stack([term.detach() for term in loss]) * share
        weights = [own_part(weight) for weight in self._state.trained()]
        norm = self._sum_shards(weights, losses) if self._sharded else self._sum(weights, losses)
        result = torch.cat([losses, norm[None]])
        skip = 1 - result.isfinite().all().float()
        self._move(inputs, norm, skip)
        return result

    def _move(self, inputs: Inputs, norm: Tensor, skip: Tensor) -> None:
        """Optimizers and averages."""
        # without snapshots there is the first average alone
        state = self._state
        averages = [[*map(own_part, state.trained_of(one))] for one in state.averages()]
        shares = (inputs.ema_share, inputs.narrow_share, inputs.wide_share)[: len(averages)]
        if self._at_once:
            (adamw,), clip = state.optimizers, self._clip(norm)
            leaves = gradient_leaves(state, self._halves)
            groups = weight_groups(state, leaves)
            rates = inputs.lr, shares, clip, skip
            update_at_once(adamw, leaves, averages, *rates, groups, self._one_pass)
            return
        take_step(state.optimizers, inputs.lr, skip)
        averaged = [own_part(weight) for weight in state.trained_of(state.model)]
        for average, share in zip(averages, shares, strict=True):
            self._update_ema(average, averaged, share * (1 - skip))

    def _sum(self, weights: list[nn.Parameter], losses: Tensor) -> Tensor:
        """Losses and gradients over ranks, clipped; returns the gradient's norm before that.

        What moves all at once clips by itself.
        """
        # recorded with the rest of the step; losses go along, so that ranks agree on whether they
        # are finite
        if self._sums is None:
            self._ranks.sum_([*(w.grad for w in weights if w.grad is not None), losses])
        else:
            self._sums.finish()
            self._ranks.sum_([losses])
        if self._at_once:
            leaves = gradient_leaves(self._state, self._halves)
            return total_norm([leaf.grad for leaf in leaves if leaf.grad is not None])
        return nn.utils.clip_grad_norm_(weights, self._recipe.optimizer.clip_norm)

    def _sum_shards(self, weights: list[nn.Parameter], losses: Tensor) -> Tensor:
        """The same where each rank has its rows of the gradient, already summed over ranks.

        They are summed part by part: a sum after the last one would need room for the gradient of
        the whole model. Every rank is left with the bits of one norm, and agrees on skipping.
        """
        take_gradients(self._state.model.parameters())
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        square = torch.stack(torch._foreach_norm(gradients)).square().sum()
        self._ranks.sum_([losses, square])
        norm = square.sqrt()
        torch._foreach_mul_(gradients, self._clip(norm))
        return norm

    def _clip(self, norm: Tensor) -> Tensor:
        """The factor by which torch's clip_grad_norm_ clips gradients of this norm."""
        return (self._recipe.optimizer.clip_norm / (norm + 1e-6)).clamp(max=1.0)

    def _compiled(self, loss: Callable[..., LossTerms]) -> Callable[..., LossTerms]:
        if self._sharded:  # the blocks are
            return loss
        if self._sums is not None:
            compile_pieces(self._state.model, self._pieces)
            return loss
        return compiled(loss)

    def _scalar(self, number: float) -> Tensor:
        return torch.full((), number, device=self._device)  # filled in there: no copy, no waiting


@contextmanager
def side_stream(device: torch.device | str) -> Iterator[None]:
    """On a GPU, a stream beside the default one, which alone cannot be recorded from."""
    if torch.device(device).type != "cuda":
        yield
        return
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        yield
    torch.cuda.current_stream(device).wait_stream(stream)
