"""A forward pass of some tokens alone, which still attend to all tokens of their image.

The keys and values of the others are as an earlier pass left them. Either every image has as many
tokens, (B, M); or they are packed, (T,), with token n of image b as b·N + n, and all layers but
attention take them as those of one image that holds B·U times.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from patch_forcing.core.active import ActiveTokens
from patch_forcing.core.time import PatchTime
from patch_forcing.models.attention import attention_to
from patch_forcing.models.rotary import Rotation

QKV = Float[Tensor, "images M 3 heads width"]


def take(
    active: ActiveTokens | None,
    x: Float[Tensor, "B N D"],
    time: PatchTime,
    vector: Float[Tensor, "B 1 V"],
) -> tuple[Float[Tensor, "_ M D"], PatchTime, Float[Tensor, "_ _ V"]]:
    """The active tokens, their times, and the vector that goes with each of the times.

    Packed tokens are (1, T, D), and their times have the vectors (1, B·U, V).
    """
    if active is None or active.tokens is None:
        return x, time, vector
    tokens = active.tokens
    if tokens.ndim == 2:
        return x.gather(1, _columns(tokens, x)), time.at(tokens), vector  # (B, M, D)
    vectors = vector.expand(-1, time.num_levels, -1).flatten(0, 1)  # (B·U, D)
    return x.flatten(0, 1)[tokens][None], time.at(tokens), vectors[None]


def take_rotation(active: ActiveTokens | None, by: Rotation, batch: int) -> Rotation:
    """The rotation of the active tokens, (B, M, …) or packed (1, T, …)."""
    if active is None or active.tokens is None:
        return by
    by = by.expand(batch, -1, -1, -1)
    if active.tokens.ndim == 1:
        return by.flatten(0, 1)[active.tokens][None]
    return by[torch.arange(batch, device=by.device)[:, None], active.tokens]


def put(
    active: ActiveTokens | None, x: Float[Tensor, "_ M F"], batch: int, num_patches: int
) -> Float[Tensor, "{batch} {num_patches} F"]:
    """The reverse of `take`: all tokens, with zeros for those that are not active."""
    if active is None or active.tokens is None:
        return x
    tokens = active.tokens
    everywhere = x.new_zeros(batch, num_patches, x.shape[2])
    if tokens.ndim == 2:
        return everywhere.scatter(1, _columns(tokens, x), x)
    return everywhere.flatten(0, 1).index_put((tokens,), x[0]).view_as(everywhere)


def _columns(tokens: Int64[Tensor, "B M"], x: Tensor) -> Int64[Tensor, "B M D"]:
    return tokens[:, :, None].expand(-1, -1, x.shape[2])


class BlockMemory(NamedTuple):
    """The keys and values (B, N, 2, heads, width) of one block: `active.memory[number]`."""

    active: ActiveTokens
    number: int

    def attend(self, qkv: QKV, attend_all: Callable[[QKV], Tensor]) -> Tensor:
        """What the active tokens take from all of their image, (B, M, heads, width).

        Keys and values of the active tokens are renewed in place. If all are active, they are
        appended to the memory, and `attend_all` computes the attention.
        """
        tokens, memory = self.active
        if tokens is None:
            memory.append(qkv[:, :, 1:])
            return attend_all(qkv)
        q, kept = qkv[:, :, 0], memory[self.number]
        if tokens.ndim == 1:
            kept[tokens // kept.shape[1], tokens % kept.shape[1]] = qkv[0, :, 1:]
        else:
            rows = torch.arange(len(q), device=q.device)[:, None]
            kept[rows, tokens] = qkv[:, :, 1:]
        return self.by_image(q, lambda q: attention_to(q, kept))

    def by_image(
        self, q: Float[Tensor, "_ M heads width"], attend: Callable[[Tensor], Tensor]
    ) -> Float[Tensor, "_ M heads width"]:
        """`attend` for queries (B, _, heads, width) image by image, though these be packed."""
        tokens, memory = self.active
        if tokens is None or tokens.ndim == 2:
            return attend(q)
        batch, count = memory[self.number].shape[:2]
        # room for all queries, which is little of the whole: one shape for any number of them
        places = tokens // count, tokens % count
        room = q.new_zeros(batch, count, *q.shape[2:])  # (B, N, heads, width)
        return attend(room.index_put(places, q[0]))[places][None]
