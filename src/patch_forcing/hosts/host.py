"""A model of another library as a network of ours: what all adapters share.

An adapter has one method, `velocity`. It translates three things and calls the model itself:

- time: here t = 0 is noise and t = 1 is data; most models count noise instead, σ = 1 − t, and many
  take 1000·σ;
- sign: here the velocity is data minus noise; what goes with σ is noise minus data;
- shape: samplers hold images (B, C, H, W) of N patches, row by row. Tokens in a grid are an image
  of patches of one cell, and a video is its frames, one below the other.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from patch_forcing.core.active import ActiveTokens
from patch_forcing.core.errors import UserError
from patch_forcing.core.output import ModelOutput
from patch_forcing.core.time import PatchTime


class Host(ABC):
    """A `Model` whose velocity is another model's own call, for `VelocityField`.

    model: a module, in any precision; what it is given is cast to that, its velocity to fp32.
    texts: keyword arguments of its call that differ between images, such as embeddings of prompts
    (R, …), with one row for each text. The condition of a call is the number of each image's row.
    null: the row of the text that guidance leads away from, and of images without condition.
    options: further keyword arguments of its call, the same each time.
    patch_size: P.
    Raises UserError for texts of different numbers, and for a null row that is not there.
    """

    def __init__(
        self,
        model: nn.Module,
        texts: Mapping[str, Tensor] | None = None,
        null: int | None = None,
        *,
        options: Mapping[str, Any] | None = None,
        patch_size: int = 1,
    ):
        self.model, self.null, self.patch_size = model, null, patch_size
        self.texts, self.options = dict(texts or {}), dict(options or {})
        counts = {name: len(rows) for name, rows in self.texts.items()}
        if len(set(counts.values())) > 1:
            raise UserError(f"texts of different numbers, {counts}: give each as many rows")
        self.num_texts = next(iter(counts.values()), 0)
        if null is not None and not 0 <= null < self.num_texts:
            raise UserError(f"null={null}, but there are {self.num_texts} texts, counted from 0")

    @abstractmethod
    def velocity(
        self, x_t: Float[Tensor, "B C H W"], t: PatchTime, texts: dict[str, Tensor]
    ) -> Float[Tensor, "B C H W"]:
        """Data minus noise, by a call of `self.model` with `self.options`.

        x_t: in the model's precision. texts: the rows of these images.
        """

    def __call__(
        self,
        x_t: Float[Tensor, "B C H W"],
        t: PatchTime,
        condition: Shaped[Tensor, " B"] | None = None,
        *,
        active: ActiveTokens | None = None,
    ) -> ModelOutput:
        """The prediction, without a log-variance.

        Raises UserError where a sampler asks for a part of the tokens, or a row is missing.
        """
        if active is not None:
            raise UserError(
                "a model of another library computes all of its tokens: give the sampler "
                "evaluate=all"
            )
        dtype = self.dtype
        texts = {
            name: rows.to(x_t.device, dtype if rows.is_floating_point() else rows.dtype)
            for name, rows in self._rows(condition, len(x_t)).items()
        }
        return ModelOutput(self.velocity(x_t.to(dtype), t, texts).float())

    @property
    def dtype(self) -> torch.dtype:
        """The model's precision."""
        own = getattr(self.model, "dtype", None)
        if isinstance(own, torch.dtype):
            return own
        return next((p.dtype for p in self.model.parameters()), torch.float32)

    def check_condition(self, condition: Tensor | None, batch: int) -> None:
        """Raises UserError unless it holds the row of a text for each image."""
        if condition is None:
            return
        if condition.shape != (batch,) or condition.is_floating_point():
            raise UserError(
                f"condition {tuple(condition.shape)} of {condition.dtype}: give ({batch},) whole "
                "numbers, the row of each image's text"
            )
        if not self.num_texts:
            raise UserError("the host has no texts: give it some, or no condition")
        low, high = int(condition.min()), int(condition.max())
        if low < 0 or high >= self.num_texts:
            raise UserError(
                f"rows {low} to {high}, but the host has {self.num_texts} texts, counted from 0"
            )

    def drop_condition(
        self, condition: Shaped[Tensor, " B"], dropped: Bool[Tensor, " B"]
    ) -> Shaped[Tensor, " B"]:
        """The null row where dropped. Raises UserError if there is none."""
        if self.null is None:
            raise UserError("guidance leads away from a text: give the host its row as null")
        return condition.masked_fill(dropped, self.null)

    def one_time(self, t: PatchTime) -> Float[Tensor, " B"]:
        """The time of each image, for a model that takes no other.

        Raises UserError where patches of one image have different times.
        """
        if t.num_levels > 1 and not (t.values == t.values[:, :1]).all():
            raise UserError(
                f"{type(self.model).__name__} takes one time an image, and this sampler or "
                "guidance gives patches times of their own: choose euler, heun or "
                "adams-bashforth, and guidance by the condition"
            )
        return t.values[:, 0]

    def _rows(self, condition: Tensor | None, batch: int) -> dict[str, Tensor]:
        if condition is not None:
            return {name: rows[condition.to(rows.device)] for name, rows in self.texts.items()}
        if self.num_texts and self.null is None:
            raise UserError("no condition and no null text: give the row of each image's text")
        row = self.null or 0
        return {
            name: rows[row : row + 1].expand(batch, *rows.shape[1:])
            for name, rows in self.texts.items()
        }


def mean_time(t: PatchTime) -> Float[Tensor, " B"]:
    """The mean of each image's patches. Of equal times it is that time, bit by bit."""
    if t.num_levels == 1:
        return t.values[:, 0]
    return t.to_dense().double().mean(dim=1).to(t.values.dtype)


def to_tokens(x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B N C"]:
    """Cells as tokens, row by row."""
    return rearrange(x, "b c h w -> b (h w) c")


def from_tokens(
    tokens: Float[Tensor, "B N C"], like: Float[Tensor, "B _ H W"]
) -> Float[Tensor, "B C H W"]:
    """The way back, to an image of that size."""
    return rearrange(tokens, "b (h w) c -> b c h w", h=like.shape[2])
