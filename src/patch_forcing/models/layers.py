"""Transformer layers whose modulation is projected once per distinct time, then gathered."""

import logging
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from patch_forcing.core.active import Tokens
from patch_forcing.core.time import PatchTime
from patch_forcing.models.attention import attention

KeysValues = Float[Tensor, "images N 2 heads width"]


class Remembered(NamedTuple):
    """Which tokens are computed, and keys and values of all, which they overwrite."""

    tokens: Tokens
    keys_values: KeysValues


class Modulation(nn.Sequential):
    """adaLN: SiLU → linear D → parts·D on the U conditions, then each token takes its own.

    Costs U rows instead of N: the projection alone would add half of a block's multiply-adds.
    """

    def __init__(self, hidden_size: int, parts: int):
        super().__init__(nn.SiLU(), nn.Linear(hidden_size, parts * hidden_size))
        self.parts = parts

    def forward(  # type: ignore[override]
        self, condition: Float[Tensor, "B U D"], time: PatchTime
    ) -> tuple[Float[Tensor, "B M D"], ...]:
        """`parts` tensors over tokens; M = 1, which broadcasts, if all hold the same time."""
        rows = super().forward(condition).chunk(self.parts, dim=-1)  # parts × (B, U, D)
        if time.num_levels == 1:
            return rows
        # part by part: gathered as one, their gradients would be copied together first
        return tuple(time.gather(part) for part in rows)  # parts × (B, N, D)


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
        self, x: Float[Tensor, "B M D"], remembered: Remembered | None = None
    ) -> tuple[Float[Tensor, "B M D"], KeysValues]:
        """All tokens, or the active ones, which look at all; also the keys and values of all."""
        qkv = self.qkv(x).unflatten(-1, (3, self.num_heads, -1))  # (B, M, 3, heads, head width)
        q, keys_values = qkv[:, :, 0], qkv[:, :, 1:]
        if remembered is None:
            return self.proj(self.attend(qkv).flatten(2)), keys_values
        if remembered.tokens.ndim == 1:
            return self._packed(q[0], keys_values[0], remembered)
        rows = torch.arange(len(x), device=x.device)[:, None]
        remembered.keys_values[rows, remembered.tokens] = keys_values
        keys_values = remembered.keys_values
        k, v = keys_values.unbind(2)
        q, k, v = (y.transpose(1, 2) for y in (q, k, v))
        attended = F.scaled_dot_product_attention(q, k, v)
        return self.proj(attended.transpose(1, 2).flatten(2)), keys_values

    def _packed(
        self,
        q: Float[Tensor, "T heads width"],
        keys_values: Float[Tensor, "T 2 heads width"],
        remembered: Remembered,
    ) -> tuple[Float[Tensor, "1 T D"], KeysValues]:
        """Each looks at its own image: linear layers compute T tokens, and attention has room for
        all, which is little of the whole, to be of one shape.
        """
        everything = remembered.keys_values
        count = everything.shape[1]
        places = remembered.tokens // count, remembered.tokens % count
        everything[places] = keys_values
        room = q.new_zeros(*everything.shape[:2], *q.shape[1:])  # (B, N, heads, head width)
        k, v = (y.transpose(1, 2) for y in everything.unbind(2))
        attended = F.scaled_dot_product_attention(room.index_put(places, q).transpose(1, 2), k, v)
        return self.proj(attended.transpose(1, 2)[places].flatten(1))[None], everything


def linear_gelu(x: Float[Tensor, "B N D"], linear: nn.Linear) -> Float[Tensor, "B N E"]:
    """The tanh form of GELU of a linear layer; what is widest in a block is passed over least.

    On a GPU, of half-precision weights that are not trained, it is within the product, which keeps
    nothing for a backward pass. Compiled to be trained, an fp32 bias has a row for each image, so
    that its gradient is summed where GELU's is computed: one over all tokens would read that again.
    """
    weight, bias = linear.weight, linear.bias
    if not _is_itself(linear):
        return plain_linear_gelu(x, linear)
    if not torch.is_grad_enabled():
        plain = type(weight) is nn.Parameter  # not a quantised one
        if plain and weight.is_cuda and weight.dtype.itemsize == 2:
            rows = torch._addmm_activation(bias, x.flatten(0, 1), weight.t(), use_gelu=True)
            return rows.unflatten(0, x.shape[:2])
    elif torch.compiler.is_compiling() and bias.dtype == torch.float32:
        return F.gelu(F.linear(x, weight) + bias.expand(len(x), 1, -1), approximate="tanh")
    return plain_linear_gelu(x, linear)


def _is_itself(linear: nn.Linear) -> bool:
    """Whether calling it is its product and no more: no adapter around it, no hook."""
    return type(linear) is nn.Linear and not (linear._forward_hooks or linear._forward_pre_hooks)


def plain_linear_gelu(x: Float[Tensor, "B N D"], linear: nn.Linear) -> Float[Tensor, "B N E"]:
    """One after the other."""
    return F.gelu(linear(x), approximate="tanh")


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


Recompute = Literal["none", "cheap", "all"]
"""What the backward pass of a block computes again instead of keeping it: nothing that takes time;
all but products and attention; or all, from what went in: a third more work (Chen et al. 2016).

Compiled, nothing that takes time are norms and what tokens take of the modulation's rows: computed
again within the kernels that need them, they are neither written nor read (docs/results/speed.md
counts it). Left alone, torch keeps them."""


_SOONER_COMPUTED = (torch.ops.aten.gather, torch.ops.aten.native_layer_norm)


def _norms_again(_: Any, operation: Any, *_inputs: Any, **_options: Any) -> CheckpointPolicy:
    again = getattr(operation, "overloadpacket", None) in _SOONER_COMPUTED
    return CheckpointPolicy.PREFER_RECOMPUTE if again else CheckpointPolicy.PREFER_SAVE


def _keep_products(_: Any, operation: Any, *_inputs: Any, **_options: Any) -> CheckpointPolicy:
    name = str(operation)
    kept = any(part in name for part in (".mm.", ".addmm.", ".bmm.", "attention"))
    return CheckpointPolicy.MUST_SAVE if kept else CheckpointPolicy.PREFER_RECOMPUTE


def _says_more_than_of_checkpoints(record: logging.LogRecord) -> bool:
    return "context_fn is passed to torch.utils.checkpoint" not in record.getMessage()


# torch warns whoever chooses what to compute again, of in-place operations, which we have not
logging.getLogger("torch._higher_order_ops.wrap").addFilter(_says_more_than_of_checkpoints)
_POLICIES = {"none": _norms_again, "cheap": _keep_products}


class Block(nn.Module):
    """A DiT block with adaLN-Zero: its gates start at zero, so it starts as the identity.

    recompute: in training.
    """

    def __init__(self, hidden_size: int, num_heads: int):
        super().__init__()
        self.recompute: Recompute = "none"
        self.norm1 = layer_norm(hidden_size)
        self.attn = Attention(hidden_size, num_heads)
        self.norm2 = layer_norm(hidden_size)
        self.mlp = Mlp(hidden_size)
        self.adaLN_modulation = Modulation(hidden_size, 6)

    def forward(
        self,
        x: Float[Tensor, "B M D"],
        condition: Float[Tensor, "B U D"],
        time: PatchTime,
        remembered: Remembered | None = None,
    ) -> tuple[Float[Tensor, "B M D"], KeysValues]:
        """All tokens, or the active ones, and their times; also the keys and values of all."""
        if (
            not self.training
            or not torch.is_grad_enabled()
            or remembered is not None
            or (self.recompute == "none" and not torch.compiler.is_compiling())
        ):
            return self._run(x, condition, time, remembered)
        options: dict[str, Any] = {}
        if policy := _POLICIES.get(self.recompute):
            options["context_fn"] = partial(create_selective_checkpoint_contexts, policy)
        result: tuple[Tensor, KeysValues] = checkpoint(
            self._run, x, condition, time, use_reentrant=False, **options
        )
        return result

    def _run(
        self, x: Tensor, condition: Tensor, time: PatchTime, remembered: Remembered | None = None
    ) -> tuple[Tensor, KeysValues]:
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.adaLN_modulation(condition, time)
        attended, keys_values = self.attn(modulate(self.norm1(x), shift_a, scale_a), remembered)
        x = x + gate_a * attended
        return x + gate_m * self.mlp(modulate(self.norm2(x), shift_m, scale_m)), keys_values


class FinalLayer(nn.Module):
    """Tokens → the pixels of their patches, all output channels."""

    def __init__(self, hidden_size: int, patch_size: int, out_channels: int):
        super().__init__()
        self.norm_final = layer_norm(hidden_size)
        self.linear = nn.Linear(hidden_size, patch_size**2 * out_channels)
        self.adaLN_modulation = Modulation(hidden_size, 2)

    def forward(
        self, x: Float[Tensor, "B N D"], condition: Float[Tensor, "B U D"], time: PatchTime
    ) -> Float[Tensor, "B N F"]:
        shift, scale = self.adaLN_modulation(condition, time)
        return self.linear(modulate(self.norm_final(x), shift, scale))
