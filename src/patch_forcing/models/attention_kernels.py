"""Attention in bf16 for training on a GPU, forward and backward, in Triton.

Rows of scores are never written (FlashAttention-2, Dao 2023). torch's own pads the width of a head
to a power of two, XL/2's 72 to 128: here it is a power of two and a rest, 64 + 8, and only the rest
is padded, to 16. Gradients of queries, keys and values are written in place in that of the layer
they came from, which saves copying them together; no sums are atomic, so results repeat.
"""

import math
from typing import Any, NamedTuple, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

# ruff: noqa: ARG001, N803, N806 - torch's signatures; constants of a kernel are in capitals


class Tiles(NamedTuple):
    """How a kernel is cut; rows are fewer where these do not divide the tokens."""

    queries: int
    keys: int
    warps: int
    stages: int


FORWARD = Tiles(queries=128, keys=64, warps=4, stages=3)
KEYS = Tiles(queries=64, keys=64, warps=4, stages=3)
QUERIES = Tiles(queries=64, keys=32, warps=4, stages=3)
"""The fastest of 15, 13 and 12 on one H100 at 256 tokens of XL/2."""

_LOG2_E = tl.constexpr(math.log2(math.e))
_LN_2 = tl.constexpr(math.log(2))


def fits(count: int, width: int) -> bool:
    """Whether the kernels can: whole tiles, and rows that begin on 16 bytes.

    Two tiles or more: loops of one turn are unrolled, and of those of a width with a rest ptxas
    12.8 makes code that reads a register which nothing has written.
    """
    return count % 64 == 0 and count >= 128 and width % 8 == 0 and 16 <= width <= 128


def parts(width: int) -> tuple[int, int]:
    """A width as a power of two and a rest, padded to ≥ 16 as products ask, or 0."""
    first = 1 << width.bit_length() - 1
    rest = width - first
    return first, max(16, 1 << (rest - 1).bit_length()) if rest else 0


# no_type_check: what is compiled from its source cannot be wrapped in checks of types


@triton.jit
@no_type_check
def _read(base, rows, STRIDE: tl.constexpr, W: tl.constexpr, FROM: tl.constexpr, TO: tl.constexpr):
    """Columns FROM … TO of rows; zeros from column W on."""
    columns = FROM + tl.arange(0, TO - FROM)
    at = base + rows[:, None] * STRIDE + columns[None, :]
    if TO <= W:
        tile = tl.load(at)
    else:
        tile = tl.load(at, mask=(columns < W)[None, :], other=0.0)
    return tile


@triton.jit
@no_type_check
def _write(
    base, rows, tile, STRIDE: tl.constexpr, W: tl.constexpr, FROM: tl.constexpr, TO: tl.constexpr
):
    """The reverse of `_read`; rounds."""
    columns = FROM + tl.arange(0, TO - FROM)
    at = base + rows[:, None] * STRIDE + columns[None, :]
    tl.store(at, tile.to(base.dtype.element_ty), mask=(columns < W)[None, :])


@triton.jit
@no_type_check
def _forward(
    qkv, out, lse,
    N: tl.constexpr, H: tl.constexpr, W: tl.constexpr, W1: tl.constexpr, W2: tl.constexpr,
    SCALE: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_KV: tl.constexpr,
):  # fmt: skip
    """One program: BLOCK_Q queries of a head of an image, over all keys."""
    ROW: tl.constexpr = 3 * H * W
    WIDE: tl.constexpr = W1 + W2
    BLOCKS: tl.constexpr = N // BLOCK_Q
    which = tl.program_id(0) // BLOCKS  # image · H + head
    image = (which // H).to(tl.int64)
    head = which % H
    q = qkv + image * (N * ROW) + head * W
    k = q + H * W
    v = k + H * W
    out += image * (N * H * W) + head * W

    rows = (tl.program_id(0) % BLOCKS) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    q1 = _read(q, rows, ROW, W, 0, W1)
    out1 = tl.zeros((BLOCK_Q, W1), tl.float32)
    if W2 > 0:
        q2 = _read(q, rows, ROW, W, W1, WIDE)
        out2 = tl.zeros((BLOCK_Q, W2), tl.float32)
    highest = tl.full((BLOCK_Q,), float("-inf"), tl.float32)
    total = tl.zeros((BLOCK_Q,), tl.float32)
    for first in range(0, N, BLOCK_KV):
        others = first + tl.arange(0, BLOCK_KV)
        scores = tl.dot(q1, tl.trans(_read(k, others, ROW, W, 0, W1)))
        if W2 > 0:
            scores = tl.dot(q2, tl.trans(_read(k, others, ROW, W, W1, WIDE)), scores)
        higher = tl.maximum(highest, tl.max(scores, 1) * (SCALE * _LOG2_E))
        p = tl.exp2(scores * (SCALE * _LOG2_E) - higher[:, None])
        shrink = tl.exp2(highest - higher)
        total = total * shrink + tl.sum(p, 1)
        highest = higher
        p = p.to(qkv.dtype.element_ty)
        out1 = tl.dot(p, _read(v, others, ROW, W, 0, W1), out1 * shrink[:, None])
        if W2 > 0:
            out2 = tl.dot(p, _read(v, others, ROW, W, W1, WIDE), out2 * shrink[:, None])
    _write(out, rows, out1 / total[:, None], H * W, W, 0, W1)
    if W2 > 0:
        _write(out, rows, out2 / total[:, None], H * W, W, W1, WIDE)
    tl.store(lse + which.to(tl.int64) * N + rows, (highest + tl.log2(total)) * _LN_2)


@triton.jit
@no_type_check
def _backward_keys(
    d_out, qkv, lse, d_qkv, inner,
    N: tl.constexpr, H: tl.constexpr, W: tl.constexpr, W1: tl.constexpr, W2: tl.constexpr,
    SCALE: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_KV: tl.constexpr,
):  # fmt: skip
    """One program: BLOCK_KV keys of a head of an image, and their values, over all queries."""
    ROW: tl.constexpr = 3 * H * W
    WIDE: tl.constexpr = W1 + W2
    BLOCKS: tl.constexpr = N // BLOCK_KV
    which = (tl.program_id(0) // BLOCKS).to(tl.int64)  # image · H + head
    image = which // H
    head = which % H
    q = qkv + image * (N * ROW) + head * W
    k = q + H * W
    v = k + H * W
    d_k = d_qkv + image * (N * ROW) + head * W + H * W
    d_v = d_k + H * W
    d_out += image * (N * H * W) + head * W
    lse += which * N
    inner += which * N

    others = (tl.program_id(0) % BLOCKS) * BLOCK_KV + tl.arange(0, BLOCK_KV)
    k1 = _read(k, others, ROW, W, 0, W1)
    v1 = _read(v, others, ROW, W, 0, W1)
    d_k1 = tl.zeros((BLOCK_KV, W1), tl.float32)
    d_v1 = tl.zeros((BLOCK_KV, W1), tl.float32)
    if W2 > 0:
        k2 = _read(k, others, ROW, W, W1, WIDE)
        v2 = _read(v, others, ROW, W, W1, WIDE)
        d_k2 = tl.zeros((BLOCK_KV, W2), tl.float32)
        d_v2 = tl.zeros((BLOCK_KV, W2), tl.float32)
    for start in range(0, N, BLOCK_Q):
        rows = start + tl.arange(0, BLOCK_Q)
        q1 = _read(q, rows, ROW, W, 0, W1)
        d_o1 = _read(d_out, rows, H * W, W, 0, W1)
        # transposed, keys by queries: so p and d_s are left operands from registers
        scores = tl.dot(k1, tl.trans(q1))
        d_p = tl.dot(v1, tl.trans(d_o1))
        if W2 > 0:
            q2 = _read(q, rows, ROW, W, W1, WIDE)
            d_o2 = _read(d_out, rows, H * W, W, W1, WIDE)
            scores = tl.dot(k2, tl.trans(q2), scores)
            d_p = tl.dot(v2, tl.trans(d_o2), d_p)
        p = tl.exp2(scores * (SCALE * _LOG2_E) - (tl.load(lse + rows) * _LOG2_E)[None, :])
        d_s = (p * (d_p - tl.load(inner + rows)[None, :])).to(qkv.dtype.element_ty)
        p = p.to(qkv.dtype.element_ty)
        d_v1 = tl.dot(p, d_o1, d_v1)
        d_k1 = tl.dot(d_s, q1, d_k1)
        if W2 > 0:
            d_v2 = tl.dot(p, d_o2, d_v2)
            d_k2 = tl.dot(d_s, q2, d_k2)
    _write(d_k, others, d_k1 * SCALE, ROW, W, 0, W1)
    _write(d_v, others, d_v1, ROW, W, 0, W1)
    if W2 > 0:
        _write(d_k, others, d_k2 * SCALE, ROW, W, W1, WIDE)
        _write(d_v, others, d_v2, ROW, W, W1, WIDE)


@triton.jit
@no_type_check
def _backward_queries(
    d_out, qkv, out, lse, d_qkv, inner,
    N: tl.constexpr, H: tl.constexpr, W: tl.constexpr, W1: tl.constexpr, W2: tl.constexpr,
    SCALE: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_KV: tl.constexpr,
):  # fmt: skip
    """One program: BLOCK_Q queries of a head of an image, over all keys; also `inner`."""
    ROW: tl.constexpr = 3 * H * W
    WIDE: tl.constexpr = W1 + W2
    BLOCKS: tl.constexpr = N // BLOCK_Q
    which = (tl.program_id(0) // BLOCKS).to(tl.int64)  # image · H + head
    image = which // H
    head = which % H
    q = qkv + image * (N * ROW) + head * W
    k = q + H * W
    v = k + H * W
    d_q = d_qkv + image * (N * ROW) + head * W
    out += image * (N * H * W) + head * W
    d_out += image * (N * H * W) + head * W

    rows = (tl.program_id(0) % BLOCKS) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    q1 = _read(q, rows, ROW, W, 0, W1)
    d_o1 = _read(d_out, rows, H * W, W, 0, W1)
    row = tl.sum(d_o1.to(tl.float32) * _read(out, rows, H * W, W, 0, W1).to(tl.float32), 1)
    d_q1 = tl.zeros((BLOCK_Q, W1), tl.float32)
    if W2 > 0:
        q2 = _read(q, rows, ROW, W, W1, WIDE)
        d_o2 = _read(d_out, rows, H * W, W, W1, WIDE)
        row += tl.sum(d_o2.to(tl.float32) * _read(out, rows, H * W, W, W1, WIDE).to(tl.float32), 1)
        d_q2 = tl.zeros((BLOCK_Q, W2), tl.float32)
    tl.store(inner + which * N + rows, row)
    offset = tl.load(lse + which * N + rows) * _LOG2_E
    for first in range(0, N, BLOCK_KV):
        others = first + tl.arange(0, BLOCK_KV)
        k1 = _read(k, others, ROW, W, 0, W1)
        v1 = _read(v, others, ROW, W, 0, W1)
        scores = tl.dot(q1, tl.trans(k1))
        d_p = tl.dot(d_o1, tl.trans(v1))
        if W2 > 0:
            k2 = _read(k, others, ROW, W, W1, WIDE)
            v2 = _read(v, others, ROW, W, W1, WIDE)
            scores = tl.dot(q2, tl.trans(k2), scores)
            d_p = tl.dot(d_o2, tl.trans(v2), d_p)
        p = tl.exp2(scores * (SCALE * _LOG2_E) - offset[:, None])
        d_s = (p * (d_p - row[:, None])).to(qkv.dtype.element_ty)
        d_q1 = tl.dot(d_s, k1, d_q1)
        if W2 > 0:
            d_q2 = tl.dot(d_s, k2, d_q2)
    _write(d_q, rows, d_q1 * SCALE, ROW, W, 0, W1)
    if W2 > 0:
        _write(d_q, rows, d_q2 * SCALE, ROW, W, W1, WIDE)


def _arguments(qkv: Tensor, tiles: Tiles) -> dict[str, Any]:
    _, count, _, heads, width = qkv.shape
    first, rest = parts(width)
    return {
        "N": count,
        "H": heads,
        "W": width,
        "W1": first,
        "W2": rest,
        "SCALE": width**-0.5,
        "BLOCK_Q": math.gcd(count, tiles.queries),
        "BLOCK_KV": math.gcd(count, tiles.keys),
        "num_warps": tiles.warps,
        "num_stages": tiles.stages,
    }


def forward(qkv: Tensor, tiles: Tiles = FORWARD) -> tuple[Tensor, Tensor]:
    """(B, N, 3, H, W) → what each token takes, (B, N, H, W), and log Σ exp, (B, H, N), fp32."""
    qkv = qkv.contiguous()
    out, lse = _empty(qkv)
    arguments = _arguments(qkv, tiles)
    with torch.cuda.device_of(qkv):
        _forward[lse.numel() // arguments["BLOCK_Q"],](qkv, out, lse, **arguments)
    return out, lse


def backward(
    d_out: Tensor,
    qkv: Tensor,
    out: Tensor,
    lse: Tensor,
    keys: Tiles = KEYS,
    queries: Tiles = QUERIES,
) -> Tensor:
    """The gradient of `qkv`; d_out, out: (B, N, H, W); lse: (B, H, N).

    In two kernels, which compute scores twice, 7 products instead of 5: one kernel that sums the
    gradient of queries in memory took 0.72 ms for these two's 0.57, and torch's 0.83.
    """
    d_out, qkv, out, lse = (x.contiguous() for x in (d_out, qkv, out, lse))
    inner, d_qkv = torch.empty_like(lse), torch.empty_like(qkv)
    of_queries, of_keys = _arguments(qkv, queries), _arguments(qkv, keys)
    with torch.cuda.device_of(qkv):
        _backward_queries[lse.numel() // of_queries["BLOCK_Q"],](
            d_out, qkv, out, lse, d_qkv, inner, **of_queries
        )
        _backward_keys[lse.numel() // of_keys["BLOCK_KV"],](
            d_out, qkv, lse, d_qkv, inner, **of_keys
        )
    return d_qkv


def _empty(qkv: Tensor) -> tuple[Tensor, Tensor]:
    images, count, _, heads, width = qkv.shape
    out = qkv.new_empty(images, count, heads, width)
    return out, qkv.new_empty(images, heads, count, dtype=torch.float32)


# opaque to the compiler: it keeps both results or computes them again, but never looks inside


@torch.library.custom_op("patch_forcing::attention", mutates_args=())
def attention(qkv: Tensor) -> tuple[Tensor, Tensor]:
    """As `forward`; differentiable."""
    return forward(qkv)


@torch.library.custom_op("patch_forcing::attention_backward", mutates_args=())
def attention_backward(d_out: Tensor, qkv: Tensor, out: Tensor, lse: Tensor) -> Tensor:
    """As `backward`."""
    return backward(d_out, qkv, out, lse)


@attention.register_fake
def _(qkv: Tensor) -> tuple[Tensor, Tensor]:
    return _empty(qkv)


@attention_backward.register_fake
def _(d_out: Tensor, qkv: Tensor, out: Tensor, lse: Tensor) -> Tensor:
    return torch.empty_like(qkv, memory_format=torch.contiguous_format)


def _keep(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs, *output)
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)


def _gradient(ctx: Any, d_out: Tensor, d_lse: None) -> Tensor:
    return attention_backward(d_out, *ctx.saved_tensors)


attention.register_autograd(_gradient, setup_context=_keep)


# without these, what is computed again for want of memory would seem to cost nothing


@register_flop_formula(torch.ops.patch_forcing.attention)
def _flops(qkv: torch.Size, *args: Any, **kwargs: Any) -> int:
    images, count, _, heads, width = qkv
    return 4 * images * heads * width * count**2


@register_flop_formula(torch.ops.patch_forcing.attention_backward)
def _flops_backward(d_out: torch.Size, *args: Any, **kwargs: Any) -> int:
    images, count, heads, width = d_out
    return 10 * images * heads * width * count**2
