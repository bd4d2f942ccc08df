"""Weights of a model whose time is the share of noise, as those of the same model in our time.

With τ = 1 − t, such a model predicts dx/dτ = x_0 − x_1 from features cos(ω·τ) and sin(ω·τ). These
are a turn and a reflection of cos(ω·t) and sin(ω·t), which the first linear layer takes in, and the
sign goes into the last one. So the model stays what it is, but for rounding.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from patch_forcing.models.config import PatchDiTConfig
from patch_forcing.models.embeddings import FREQUENCIES, MAX_PERIOD

_FIRST = "t_embedder.mlp.0.weight"
_LAST = ("final_layer.linear.weight", "final_layer.linear.bias")


def in_our_time(weights: Mapping[str, Tensor], sizes: PatchDiTConfig) -> dict[str, Tensor]:
    """Weights of a PatchDiT with t = 1 as noise → of one with t = 1 as data; the way back, too.

    Velocities change their sign, log-variances do not.
    """
    signs = torch.ones(sizes.in_channels + int(sizes.predict_difficulty))
    signs[: sizes.in_channels] = -1
    signs = signs.repeat(sizes.patch_size**2)  # (patch row, patch column, channel)
    last = {name: _signed(weights[name], signs) for name in _LAST}
    return {**weights, _FIRST: _turned(weights[_FIRST]), **last}


def _signed(rows: Tensor, signs: Tensor) -> Tensor:
    """Rows of a weight, or numbers of a bias, with these signs."""
    return rows * signs.view(-1, *(1 for _ in rows.shape[1:]))


def _turned(layer: Tensor) -> Tensor:
    """The layer on features of 1 − t, as a layer on features of t: (D, 256), cosines first."""
    k = torch.arange(FREQUENCIES, dtype=torch.float64)
    omega = torch.exp(-math.log(MAX_PERIOD) * k / FREQUENCIES)
    of_cos, of_sin = layer.double().chunk(2, dim=1)
    # cos(ω − ω·t) = cos ω·cos ω·t + sin ω·sin ω·t; sin(ω − ω·t) = sin ω·cos ω·t − cos ω·sin ω·t
    cos, sin = omega.cos(), omega.sin()
    turned = torch.cat([of_cos * cos + of_sin * sin, of_cos * sin - of_sin * cos], dim=1)
    return turned.to(layer.dtype)
