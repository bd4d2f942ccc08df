"""Many times of an image by a few: conditions as a polynomial of time through Chebyshev's nodes.

What a network makes of its time alone, the modulation of each block, is a smooth function of t: its
features are waves of at most one radian over [0, 1]. So the polynomial through its values at M
nodes is that function to within an error that falls geometrically with M, and N times of an image
cost M projections (barycentric form: Berrut & Trefethen 2004).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from patch_forcing.core.errors import check_range
from patch_forcing.core.time import PatchTime


@dataclass(frozen=True, eq=False)
class InterpolatedTime(PatchTime):
    """`values` are the nodes, the same for all images, and each patch's time weighs them.

    weights: (B, N, M), in sum 1 for each patch.
    """

    weights: Float[Tensor, "B N M"] | None = None

    @property
    def num_patches(self) -> int:
        """N."""
        assert self.weights is not None
        return self.weights.shape[1]

    def gather(self, rows: Shaped[Tensor, "B M F"]) -> Shaped[Tensor, "B N F"]:
        """What was computed at the nodes → at each patch's time."""
        assert self.weights is not None
        return self.weights.to(rows.dtype) @ rows

    def at(self, tokens: Int64[Tensor, "B K"] | Int64[Tensor, " T"]) -> PatchTime:
        """The times of some patches of each image; of packed ones, b·N + n, as of one image."""
        assert self.weights is not None
        batch, patches, nodes = self.weights.shape
        if tokens.ndim == 2:
            where = tokens[:, :, None].expand(-1, -1, nodes)
            return InterpolatedTime(self.values, weights=self.weights.gather(1, where))
        own = self.weights.flatten(0, 1)[tokens]  # (T, M), among the B·M rows of all images
        whose = torch.arange(batch, device=tokens.device) == (tokens // patches)[:, None]
        weights = (whose[:, :, None] * own[:, None]).flatten(1)
        return InterpolatedTime(self.values.reshape(1, -1), weights=weights[None])


def interpolated(time: PatchTime, num_nodes: int) -> PatchTime:
    """Times that are each patch's own, by `num_nodes` of them, 2 or more; others stay as they are.

    So do those that are no more than the nodes.
    """
    check_range("time_nodes", num_nodes, 2, whole=True)
    if time.index is not None or time.num_levels <= num_nodes:
        return time
    nodes = chebyshev_nodes(num_nodes, time.values.device)
    weights = lagrange_weights(time.values, nodes)
    return InterpolatedTime(nodes.expand(len(time.values), -1), weights=weights)


def chebyshev_nodes(count: int, device: torch.device | str = "cpu") -> Float[Tensor, " M"]:
    """(1 − cos(πk/(M − 1)))/2, k = 0 … M − 1: the ends of [0, 1] are among them."""
    # made there: while a GPU records, nothing can be copied to it
    angles = torch.arange(count, dtype=torch.float64, device=device) * (math.pi / (count - 1))
    return ((1 - angles.cos()) / 2).float()


def lagrange_weights(t: Float[Tensor, "B N"], nodes: Float[Tensor, " M"]) -> Float[Tensor, "B N M"]:
    """How much of each node's value is in the polynomial's value at t.

    w_k/(t − x_k) over the sum of all, with w_k = (−1)^k, halved at both ends; exactly one node's
    value at that node.
    """
    signs = torch.ones_like(nodes)
    signs[1::2] = -1
    signs[0], signs[-1] = signs[0] / 2, signs[-1] / 2
    ahead = t[..., None] - nodes
    there = ahead.abs() < torch.finfo(t.dtype).eps  # or the reciprocal overflows
    shares = signs / torch.where(there, 1, ahead)
    shares = shares / shares.sum(-1, keepdim=True)
    return torch.where(there.any(-1, keepdim=True), there.to(shares.dtype), shares)
