"""Clipping, AdamW and averages as one pass over the memory, where torch compiles them for a GPU."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

Tensors = list[Tensor]


@torch.no_grad()
def adamw_pass(
    weights: Tensors,
    copies: Tensors,
    gradients: Tensors,
    means: Tensors,
    squares: Tensors,
    averages: Sequence[Tensors],
    scalars: Tensors,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """In place: AdamW (Loshchilov and Hutter 2019) on clipped gradients, then each average.

    copies: of the weights, in lower precision, or none. gradients: in theirs; computed in fp32.

    scalars, of shape (): skip (1 changes nothing), clip (factor of gradients), the step size by
    the mean's bias correction, weight decay by lr, the root of the square's bias correction, and
    the share of the new weights in each average.
    """
    # Each list ends in a foreach operation: their groups are of one length, so that inductor fuses
    # them tensor by tensor; of plain copies it would make a kernel for each tensor.
    skip, clip, size, decay, root, *shares = scalars
    gradients = [gradient.float() for gradient in gradients]
    skip = skip > 0  # by `where`: what is skipped may be NaN, which no factor removes
    new = [
        torch.where(skip, mean, mean + (1 - betas[0]) * (gradient * clip - mean))
        for mean, gradient in zip(means, gradients, strict=True)
    ]
    torch._foreach_copy_(means, new)
    new = [
        torch.where(skip, square, betas[1] * square + (1 - betas[1]) * (gradient * clip).square())
        for square, gradient in zip(squares, gradients, strict=True)
    ]
    torch._foreach_copy_(squares, new)
    new = [
        torch.where(
            skip, weight, weight - decay * weight - size * mean / (square.sqrt() / root + eps)
        )
        for weight, mean, square in zip(weights, means, squares, strict=True)
    ]
    torch._foreach_copy_(weights, new)
    if copies:
        torch._foreach_copy_(copies, new)
    for average, share in zip(averages, shares, strict=True):
        new = [
            torch.where(skip, old, old + share * (weight - old))
            for old, weight in zip(average, weights, strict=True)
        ]
        torch._foreach_copy_(average, new)


@torch.no_grad()
def update_at_once(
    optimizer: torch.optim.Optimizer,
    leaves: Sequence[Tensor],
    averages: Sequence[Sequence[Tensor]],
    lr: Tensor,
    shares: Sequence[Tensor],
    clip: Tensor,
    skip: Tensor,
    groups: Iterable[Sequence[int]],
    one_pass: Callable[..., None] = adamw_pass,
) -> None:
    """What clipping, torch's AdamW and update_ema do one after the other; gradients are cleared.

    optimizer: torch's AdamW, whose state this is.
    leaves: of each of its weights, itself or a copy that follows it. All have gradients.
    averages: of the first of its weights, with their shares.
    clip, skip: scalars; the factor of gradients, and 1 where nothing is to change.
    groups: places of weights that go together, all or none with averages or copies. Those of the
    same shapes are compiled once: all 290 of XL's in one graph took over two minutes.
    one_pass: `adamw_pass`, or that compiled.
    """
    (group,) = optimizer.param_groups
    weights: list[Tensor] = group["params"]
    states = [_state(optimizer, weight) for weight in weights]
    steps = [state["step"] for state in states]
    count = steps[0].double() + 1  # 1 − βⁿ would lose four digits of fp32
    mean_bias, square_bias = (1 - beta**count for beta in group["betas"])
    scalars = [skip, clip, lr / mean_bias, lr * group["weight_decay"], square_bias.sqrt()]
    scalars = [scalar.float() for scalar in scalars]
    torch._foreach_add_(steps, [1 - skip] * len(steps))
    gradients = [leaf.grad for leaf in leaves if leaf.grad is not None]
    assert len(gradients) == len(weights)
    for places in groups:
        kept = [[one[k] for k in places] for one in averages if places[0] < len(one)]
        one_pass(
            [weights[k].detach() for k in places],
            [leaves[k].detach() for k in places if leaves[k] is not weights[k]],
            [gradients[k] for k in places],
            [states[k]["exp_avg"] for k in places],
            [states[k]["exp_avg_sq"] for k in places],
            kept,
            [*scalars, *shares[: len(kept)]],
            group["betas"],
            group["eps"],
        )
    for leaf in leaves:
        leaf.grad = None


def _state(optimizer: torch.optim.Optimizer, weight: Tensor) -> dict[str, Any]:
    """As torch's fused AdamW makes it at its first step."""
    state: dict[str, Any] = optimizer.state[weight]
    if not state:
        state["step"] = torch.zeros((), device=weight.device)
        state["exp_avg"] = torch.zeros_like(weight)
        state["exp_avg_sq"] = torch.zeros_like(weight)
    return state
