"""The objective's terms: squared velocity error and the likelihood of its size."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from patch_forcing.core.difficulty import bound_logvar


@dataclass(frozen=True, eq=False)
class LossTerms:
    """Scalars: total = velocity + nll_weight·nll + Σ weight·other.

    nll: 0 without a difficulty head. others: further terms of the objective by name, not weighted.
    Iterating gives the scalars in the order of `named`.
    """

    total: Tensor
    velocity: Tensor
    nll: Tensor
    others: Mapping[str, Tensor] = field(default_factory=dict)

    def named(self) -> dict[str, Tensor]:
        """All of them, by name."""
        named = {"total": self.total, "velocity": self.velocity, "nll": self.nll}
        return {**named, **self.others}

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.named().values())


def velocity_error(
    velocity: Float[Tensor, "B C H W"], target: Float[Tensor, "B C H W"]
) -> Float[Tensor, ""]:
    """mean‖v − v*‖², in fp32."""
    return (velocity.float() - target.float()).square().mean()


def gaussian_nll(
    velocity: Float[Tensor, "B C H W"],
    logvar: Float[Tensor, "B 1 H W"],
    target: Float[Tensor, "B C H W"],
) -> Float[Tensor, ""]:
    """Mean of ½·(ln 2π + logvar + (v* − sg(v))²·exp(−logvar)), in fp32, logvar over all channels.

    The velocity is detached (sg): this term teaches the log-variance only.
    """
    logvar = bound_logvar(logvar)
    error = (target.float() - velocity.detach().float()).square()
    return 0.5 * (math.log(2 * math.pi) + logvar + error * (-logvar).exp()).mean()


def misalignment(
    projected: Float[Tensor, "B N F"], features: Float[Tensor, "B N F"]
) -> Float[Tensor, ""]:
    """−mean cosine similarity of each token with its features, in fp32 (Yu et al. 2024).

    From −1, aligned, to 1. A row of zeros is similar to nothing: 0.
    """
    return -F.cosine_similarity(projected.float(), features.float(), dim=-1).mean()
