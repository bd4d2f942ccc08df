"""Transformer layers whose modulation is projected once per distinct time, then gathered."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from patch_forcing.core.time import PatchTime
from patch_forcing.models.attention import attention, attention_to
from patch_forcing.models.linear_gelu import linear_gelu
from patch_forcing.models.options import Recompute
from patch_forcing.models.recompute import recomputing
from patch_forcing.models.rotary import Rotation, rotated
from patch_forcing.models.token_subset import BlockMemory

KeysValues = Float[Tensor, "images L 2 heads width"]
"""Of conditions; packed tokens are of several images."""


class Conditioning(NamedTuple):
    """What layers know besides their tokens: DiT's c, with a row for each distinct time.

    rows: (B, U, D), time and condition; of `condition_size` numbers, if the config gives that.
    time: which row belongs to which token. tokens (B, L, D), mask (B, L): of conditions that have
    them (models/conditions.py). rotation: by what heads turn, where positions are rotary.
    """

    rows: Float[Tensor, "B U D"]
    time: PatchTime
    tokens: Float[Tensor, "B L D"] | None = None
    mask: Bool[Tensor, "B L"] | None = None
    rotation: Rotation | None = None


class Modulation(nn.Sequential):
    """adaLN: SiLU → linear D → parts·D on the U rows, then each token takes its own.

    Costs U rows instead of N: the projection alone would add half of a block's multiply-adds.
    """

    def __init__(self, hidden_size: int, parts: int, condition_size: int | None = None):
        super().__init__(nn.SiLU(), nn.Linear(condition_size or hidden_size, parts * hidden_size))
        self.parts = parts

    def forward(self, c: Conditioning) -> tuple[Float[Tensor, "B M D"], ...]:
        """`parts` tensors over tokens; M = 1, which broadcasts, if all hold the same time."""
        rows = super().forward(c.rows).chunk(self.parts, dim=-1)  # parts × (B, U, D)
        if c.time.num_levels == 1:
            return rows
        # part by part: gathered as one, their gradients would be copied together first
        return tuple(c.time.gather(part) for part in rows)  # parts × (B, N, D)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """x·(1 + scale) + shift."""
    return x * (1 + scale) + shift


def layer_norm(hidden_size: int) -> nn.LayerNorm:
    """Without affine: the modulation takes its place."""
    return nn.LayerNorm(hidden_size, elementwise_affine=False, eps=1e-6)


class Attention(nn.Module):
    """Multi-head self-attention over all tokens of an image; `attend`: by what."""

    attend = staticmethod(attention)

    def __init__(self, hidden_size: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size)
        self.proj = nn.Linear(hidden_size, hidden_size)

    def forward(
        self,
        x: Float[Tensor, "B M D"],
        memory: BlockMemory | None = None,
        rotation: Rotation | None = None,
        mask: Bool[Tensor, "B M"] | None = None,
    ) -> Float[Tensor, "B M D"]:
        """memory: of the tokens that x leaves out. mask: which tokens are seen, of none with
        memory.
        """
        qkv = self.qkv(x).unflatten(-1, (3, self.num_heads, -1))  # (B, M, 3, heads, head width)
        if rotation is not None:
            qkv = rotated(qkv, rotation)
        if memory is not None:
            attended = memory.attend(qkv, self.attend)
        elif mask is not None:
            attended = attention_to(qkv[:, :, 0], qkv[:, :, 1:], mask)
        else:
            attended = self.attend(qkv)
        return self.proj(attended.flatten(2))  # (B, M, D)


class CrossAttention(nn.Module):
    """From the tokens of an image to those of its condition (PixArt-α, Chen et al. 2023).

    Its output projection starts at zero, so it takes no gate of its own.
    """

    def __init__(self, hidden_size: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.norm = layer_norm(hidden_size)
        self.q = nn.Linear(hidden_size, hidden_size)
        self.kv = nn.Linear(hidden_size, 2 * hidden_size)
        self.proj = nn.Linear(hidden_size, hidden_size)

    def keys_values(self, tokens: Float[Tensor, "images L D"]) -> KeysValues:
        """Of the condition's tokens: the same at all times."""
        return self.kv(tokens).unflatten(-1, (2, self.num_heads, -1))

    def forward(
        self,
        x: Float[Tensor, "_ M D"],
        kept: KeysValues,
        mask: Bool[Tensor, "images L"] | None,
        memory: BlockMemory | None = None,
    ) -> Float[Tensor, "_ M D"]:
        """memory: it knows which tokens are of which image, where they are packed."""
        q = self.q(self.norm(x)).unflatten(-1, (self.num_heads, -1))  # (_, M, heads, head width)

        def attend(q: Tensor) -> Tensor:
            return attention_to(q, kept.to(q.dtype), mask)

        attended = attend(q) if memory is None else memory.by_image(q, attend)
        return self.proj(attended.flatten(2))  # (_, M, D)


class Mlp(nn.Module):
    """Two linear layers with the tanh form of GELU between, four times as wide.

    widen: the first of them and GELU, by what.
    """

    widen = staticmethod(linear_gelu)

    def __init__(self, hidden_size: int):
        super().__init__()
        self.fc1 = nn.Linear(hidden_size, 4 * hidden_size)
        self.fc2 = nn.Linear(4 * hidden_size, hidden_size)

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        return self.fc2(self.widen(x, self.fc1))


class Block(nn.Module):
    """A DiT block with adaLN-Zero: its gates start at zero, so it starts as the identity.

    recompute: of what, in training, the backward pass keeps nothing. attends: whether tokens attend
    to those of their condition, between attention and MLP. condition_size: of rows that modulate.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        attends: bool = False,
        condition_size: int | None = None,
    ):
        super().__init__()
        self.recompute: Recompute = "none"
        self.norm1 = layer_norm(hidden_size)
        self.attn = Attention(hidden_size, num_heads)
        self.cross = CrossAttention(hidden_size, num_heads) if attends else None
        self.norm2 = layer_norm(hidden_size)
        self.mlp = Mlp(hidden_size)
        self.adaLN_modulation = Modulation(hidden_size, 6, condition_size)

    def forward(
        self,
        x: Float[Tensor, "B M D"],
        c: Conditioning,
        memory: BlockMemory | None = None,
        kept: KeysValues | None = None,
    ) -> Float[Tensor, "B M D"]:
        """All tokens of an image, or some, with the memory of the others.

        kept: keys and values of the condition's tokens, where they were made before.
        """
        kept_for = self.training and torch.is_grad_enabled() and self.attn.qkv.weight.requires_grad
        if kept_for and memory is None:
            return recomputing(self.recompute, self._run, x, c, None, kept)
        return self._run(x, c, memory, kept)

    def _run(
        self, x: Tensor, c: Conditioning, memory: BlockMemory | None, kept: KeysValues | None
    ) -> Tensor:
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.adaLN_modulation(c)
        x = x + gate_a * self.attn(modulate(self.norm1(x), shift_a, scale_a), memory, c.rotation)
        if self.cross is not None:
            if kept is None:
                assert c.tokens is not None
                kept = self.cross.keys_values(c.tokens)
            x = x + self.cross(x, kept, c.mask, memory)
        return x + gate_m * self.mlp(modulate(self.norm2(x), shift_m, scale_m))


class FinalLayer(nn.Module):
    """Tokens → the pixels of their patches, all output channels."""

    def __init__(
        self,
        hidden_size: int,
        patch_size: int,
        out_channels: int,
        condition_size: int | None = None,
    ):
        super().__init__()
        self.norm_final = layer_norm(hidden_size)
        self.linear = nn.Linear(hidden_size, patch_size**2 * out_channels)
        self.adaLN_modulation = Modulation(hidden_size, 2, condition_size)

    def forward(self, x: Float[Tensor, "B M D"], c: Conditioning) -> Float[Tensor, "B M F"]:
        shift, scale = self.adaLN_modulation(c)
        return self.linear(modulate(self.norm_final(x), shift, scale))
