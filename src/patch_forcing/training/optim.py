"""AdamW, as this family is trained, or Muon, which learns as much in fewer steps; warm-up."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from patch_forcing.training.muon import Muon
from patch_forcing.training.options import OptimizerConfig


def build_optimizers(
    config: OptimizerConfig, weights: Iterable[nn.Parameter], matrices: Iterable[nn.Parameter] = ()
) -> list[torch.optim.Optimizer]:
    """The optimizers over these weights.

    matrices: those of the weights that Muon takes, if it is chosen: 2-D, of hidden layers.
    """
    by_muon = list(matrices) if config.name == "muon" else []
    taken = set(map(id, by_muon))
    others = [weight for weight in weights if id(weight) not in taken]
    # fused: knows found_inf on every device; capturable: can be replayed as a CUDA graph
    adamw = torch.optim.AdamW(
        others,
        lr=config.lr,
        betas=config.betas,
        weight_decay=config.weight_decay,
        fused=True,
        capturable=others[0].is_cuda,
    )
    if not by_muon:
        return [adamw]
    return [adamw, Muon(by_muon, lr=config.lr, weight_decay=config.weight_decay)]


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
