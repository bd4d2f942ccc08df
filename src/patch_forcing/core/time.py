"""Per-patch flow time as a type. At t = 0 there is noise, at t = 1 data.

The letters of shapes and formulas stand in the docstring of `patch_forcing`.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor

from patch_forcing.core.errors import UserError

LEVELS = (1, 2, 4, 8, 16)
"""`PatchTime.padded` leaves these numbers of distinct times as they are."""


@dataclass(frozen=True, eq=False)
class PatchTime:
    """The U distinct times that an image holds, and which of them each of its N patches has.

    A network projects the U conditions and gathers, instead of projecting N of them. The result is
    the same. No sampler of the paper (arXiv 2604.19141) holds more than U = 2.

    values: (B, U) in [0, 1].
    index: (B, N) in 0 … U−1. None means that patch i holds `values[:, i]` and U = N.
    known: all times that occur, as floats, if the caller has them. Reading `values` makes a GPU
    wait.
    """

    values: Float[Tensor, "B U"]
    index: Int64[Tensor, "_ N"] | None = None
    known: tuple[Any, ...] | None = None

    def __post_init__(self) -> None:
        if self.values.ndim != 2:
            raise UserError(f"PatchTime values are (B, U), not {tuple(self.values.shape)}")
        if self.index is not None and (
            self.index.ndim != 2 or self.index.shape[0] != self.values.shape[0]
        ):
            raise UserError(
                f"PatchTime index {tuple(self.index.shape)} does not match "
                f"values {tuple(self.values.shape)}: give (B, N) with the same B"
            )

    @classmethod
    def shared(cls, t: Float[Tensor, " B"], num_patches: int) -> "PatchTime":
        """Every image has one time for all its patches, U = 1, as in plain flow matching."""
        return cls(t[:, None], t.new_zeros(1, 1, dtype=torch.int64).expand(len(t), num_patches))

    @classmethod
    def everywhere(cls, t: float, like: Tensor, num_patches: int) -> "PatchTime":
        """All images of the batch `like` have the time t, U = 1, on its device."""
        shared = cls.shared(torch.full((len(like),), t, device=like.device), num_patches)
        return cls(shared.values, shared.index, (t,))

    @classmethod
    def dense(cls, t: Float[Tensor, "B N"]) -> "PatchTime":
        """Every patch has its own time, U = N."""
        return cls(t)

    @classmethod
    def two_level(
        cls, where: Bool[Tensor, "B N"], then: float | Tensor, otherwise: float | Tensor
    ) -> "PatchTime":
        """Patches of `where` have `then`, the others `otherwise`, U = 2. Both are float or (B,)."""
        numbers = [level for level in (otherwise, then) if isinstance(level, float | int)]
        levels = [
            level.to(where.device, torch.float32).expand(len(where))
            if isinstance(level, Tensor)
            else torch.full((len(where),), float(level), device=where.device)
            for level in (otherwise, then)
        ]
        known = tuple(map(float, numbers)) if len(numbers) == 2 else None
        return cls(torch.stack(levels, dim=1), where.long(), known)

    @property
    def num_levels(self) -> int:
        """The number U of distinct times."""
        return self.values.shape[1]

    @property
    def num_patches(self) -> int:
        """The number N of patches."""
        return (self.values if self.index is None else self.index).shape[1]

    def gather(self, rows: Shaped[Tensor, "B U F"]) -> Shaped[Tensor, "B N F"]:
        """Gives every patch the row that was computed for its time."""
        if self.index is None:
            return rows
        if self.num_levels == 1:
            return rows.expand(-1, self.num_patches, -1)
        return _TakeRows.apply(rows, self.index)

    def to_dense(self) -> Float[Tensor, "B N"]:
        """The time of every patch."""
        return self.gather(self.values[:, :, None])[:, :, 0]

    def padded(self) -> "PatchTime":
        """The same times with U = 1, 2, 4, 8, 16 or N. The last time is repeated.

        So a compiled network meets few shapes, however many times a sampler holds.
        """
        if self.index is None or self.num_levels in LEVELS:
            return self
        fitting = [level for level in LEVELS if self.num_levels < level < self.num_patches]
        if not fitting:
            return type(self)(self.to_dense(), None, self.known)
        missing = fitting[0] - self.num_levels
        values = torch.cat([self.values, self.values[:, -1:].expand(-1, missing)], dim=1)
        return type(self)(values, self.index, self.known)

    def at(self, tokens: Int64[Tensor, "B M"] | Int64[Tensor, " T"]) -> "PatchTime":
        """The times of M patches of each image, or of T packed ones (b·N + n) as one image."""
        if tokens.ndim == 1:
            batch, levels = self.values.shape
            own = torch.arange(levels, device=tokens.device) if self.index is None else self.index
            first = levels * torch.arange(batch, device=tokens.device)[:, None]
            index = (first + own).flatten()[tokens][None]
            return type(self)(self.values.reshape(1, -1), index)
        if self.index is None:
            return type(self)(self.values.gather(1, tokens))
        return type(self)(self.values, self.index.gather(1, tokens))

    def tile(self, times: int) -> "PatchTime":
        """Repeats the whole batch, so that guidance is one batched call."""
        index = None if self.index is None else self.index.repeat(times, 1)
        return type(self)(self.values.repeat(times, 1), index, self.known)


class _TakeRows(torch.autograd.Function):
    """Takes row `index[b, n]` of rows[b]. The backward pass is a product with a one-hot matrix.

    A gather's own backward pass would add hundreds of patches to the same few rows atomically.
    There is no forward mode, because torch refuses to compile a function that has one.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(rows: Tensor, index: Tensor) -> Tensor:
        return rows.gather(1, index[:, :, None].expand(-1, -1, rows.shape[2]))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], _: Tensor) -> None:
        rows, index = inputs
        ctx.save_for_backward(index)
        ctx.num_rows = rows.shape[1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        numbers = torch.arange(ctx.num_rows, device=index.device)
        chosen = (index[:, None] == numbers[:, None]).to(gradient.dtype)  # (B, U, N)
        return chosen @ gradient, None


def as_patch_time(t: PatchTime | Float[Tensor, "..."], batch: int, num_patches: int) -> PatchTime:
    """Accepts time as users give it: a `PatchTime`, (B,) times of images or (B, N) of patches.

    Raises UserError for any other shape, for another batch or number of patches, and for times
    outside [0, 1].
    """
    if not isinstance(t, PatchTime):
        # looking at values makes a GPU wait: inner loops hand over a PatchTime
        if not torch.compiler.is_compiling() and not ((t >= 0) & (t <= 1)).all():
            raise UserError(
                f"time from {t.min():g} to {t.max():g} is out of range: 0 is noise, 1 is data, "
                "there is no scale of 1000"
            )
        if t.ndim == 1:
            t = PatchTime.shared(t, num_patches)
        elif t.ndim == 2:
            t = PatchTime.dense(t)
        else:
            raise UserError(f"time of shape {tuple(t.shape)}: give (B,), (B, N) or a PatchTime")
    if t.num_patches != num_patches:
        raise UserError(f"time for {t.num_patches} patches, but the image has {num_patches}")
    if len(t.values) != batch:
        raise UserError(f"time for {len(t.values)} images, but the batch has {batch}")
    return t
