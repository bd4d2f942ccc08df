"""Muon for many matrices of few shapes: all of one shape are orthogonalised at once."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic Newton–Schulz iteration (Jordan et al. 2024): steepest at zero."""
_ITERATIONS = 5


class Shards(Protocol):
    """How matrices of which each rank holds some rows are put together, and cut again."""

    def gather(self, parts: Tensor, rows: int) -> Tensor:
        """(n, own rows, b) → (n, rows, b)."""

    def own(self, whole: Tensor) -> Tensor:
        """(n, rows, b) → (n, own rows, b)."""


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal (Jordan et al. 2024), as long as AdamW's (Liu 2025).

    The numbers of torch.optim.Muon(adjust_lr_fn="match_rms_adamw"), which takes one matrix after
    the other: a transformer's sixty small products then leave a GPU idle. lr may be a tensor, and
    where the attribute `found_inf` holds 1 the step changes nothing, as in torch's fused AdamW.

    shards: set where the weights are parts of matrices, whose `whole_shape` they name. Each rank
    then orthogonalises all: a gather a shape, instead of a sum of pieces that is not orthogonal.
    """

    found_inf: Tensor | None = None
    shards: Shards | None = None

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step."""
        for group in self.param_groups:
            by_shape = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is not None:
                    by_shape[getattr(weight, "whole_shape", weight.shape)].append(weight)
            for (rows, cols), weights in by_shape.items():
                self._step(weights, group, rows, 0.2 * max(rows, cols) ** 0.5)

    def _step(self, weights: list[Tensor], group: dict[str, Any], rows: int, size: float) -> None:
        for weight in weights:
            if not self.state[weight]:
                self.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
        buffers = [self.state[weight]["momentum_buffer"] for weight in weights]
        before = torch.stack(buffers)
        gradient = torch.stack([weight.grad for weight in weights if weight.grad is not None])
        average = before.lerp(gradient, 1 - group["momentum"])
        update = gradient.lerp(average, group["momentum"])
        if self.shards is None:
            update = orthogonal(update)
        else:
            update = self.shards.own(orthogonal(self.shards.gather(update, rows)))
        update = update * -(group["lr"] * size)
        shrink = 1 - group["lr"] * group["weight_decay"]
        if self.found_inf is not None:
            skip = self.found_inf.bool()
            average, update = average.where(~skip, before), update.where(~skip, 0)
            shrink = 1 - (1 - shrink) * (1 - self.found_inf)
        torch._foreach_copy_(buffers, list(average.unbind()))
        torch._foreach_mul_(weights, shrink)
        torch._foreach_add_(weights, list(update.unbind()))


def orthogonal(matrices: Float[Tensor, "n a b"]) -> Float[Tensor, "n a b"]:
    """Each matrix with its singular values near 1 (0.7 to 1.2), by products in bf16."""
    a, b, c = _COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.bfloat16()
    if tall:
        x = x.mT
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)
