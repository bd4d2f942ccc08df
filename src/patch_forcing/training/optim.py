"""AdamW, as this family is trained, or Muon, which learns as much in fewer steps; warm-up."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from patch_forcing.core.errors import check_range
from patch_forcing.training.muon import Muon


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer of a recipe."""

    name: Literal["adamw", "muon"] = "adamw"
    """adamw; or muon (Jordan et al. 2024) for the matrices inside blocks, adamw for the rest."""
    lr: float = 1e-4
    """Learning rate after warm-up."""
    warmup_steps: int = 1000
    """Steps in which the learning rate rises linearly from 0."""
    decay_share: float = 0.0
    """Share of the run, at its end, in which it falls linearly to 0; of a run with
    0, the steps may change later."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's averaging of the gradient and of its square."""
    weight_decay: float = 0.0
    """Decoupled weight decay."""
    clip_norm: float = 1.0
    """The gradient's norm is clipped to this."""

    def __post_init__(self) -> None:
        check_range("optimizer.lr", self.lr, above=0, below=1e30)
        check_range("optimizer.warmup_steps", self.warmup_steps, 0)
        check_range("optimizer.decay_share", self.decay_share, 0, 1)
        for beta in self.betas:
            check_range("optimizer.betas", beta, 0, below=1)
        check_range("optimizer.weight_decay", self.weight_decay, 0)
        if self.clip_norm != math.inf:
            check_range("optimizer.clip_norm", self.clip_norm, above=0, mend="; inf is none")

    def build(
        self, weights: Iterable[nn.Parameter], matrices: Iterable[nn.Parameter] = ()
    ) -> list[torch.optim.Optimizer]:
        """The optimizers over these weights.

        matrices: those of the weights that Muon takes, if it is chosen: 2-D, of hidden layers.
        """
        by_muon = list(matrices) if self.name == "muon" else []
        taken = set(map(id, by_muon))
        others = [weight for weight in weights if id(weight) not in taken]
        # fused: knows found_inf on every device; capturable: can be replayed as a CUDA graph
        adamw = torch.optim.AdamW(
            others,
            lr=self.lr,
            betas=self.betas,
            weight_decay=self.weight_decay,
            fused=True,
            capturable=others[0].is_cuda,
        )
        if not by_muon:
            return [adamw]
        return [adamw, Muon(by_muon, lr=self.lr, weight_decay=self.weight_decay)]

    def lr_at(self, step: int, steps: int) -> float:
        """The learning rate of step 0, 1, …, steps − 1: it rises, stays, and may fall."""
        rise = (step + 1) / (self.warmup_steps + 1)
        fall = (steps - step) / (self.decay_share * steps + 1)
        return self.lr * min(1.0, rise, fall)


def take_step(
    optimizers: Sequence[torch.optim.Optimizer], lr: float | Tensor, skip: Tensor | None = None
) -> None:
    """One step of each at this learning rate; gradients are cleared.

    skip: scalar; 1 leaves weights and averages alone, which no one has to wait for.
    """
    for optimizer in optimizers:
        optimizer.found_inf = skip  # type: ignore[attr-defined]  # what torch's GradScaler sets
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
