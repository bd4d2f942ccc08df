"""Difficulty of a model that predicts none: numbers that an evaluation gives for free.

They order patches, which is all that samplers ask of a difficulty. None is an error variance;
`calibration` says how well each follows the errors of a model.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from patch_forcing.core.errors import UserError, unknown_name
from patch_forcing.core.patches import pool, spread
from patch_forcing.core.path import LinearPath
from patch_forcing.core.time import PatchTime
from patch_forcing.sampling.field import Field, FieldOutput, KeepingField, Recall


@runtime_checkable
class Proxy(Protocol):
    """What gives each patch a number that is larger where it is harder."""

    def __call__(
        self, x_t: Tensor, t: PatchTime, output: FieldOutput, patch_size: int
    ) -> Float[Tensor, "B N"]:
        """The number of each patch, of an evaluation at x_t. Evaluations come in their order."""
        ...


class VelocitySpread:
    """How much the velocity's numbers differ within a patch: their variance."""

    def __call__(
        self, x_t: Tensor, t: PatchTime, output: FieldOutput, patch_size: int
    ) -> Float[Tensor, "B N"]:
        return _variance(output.velocity.float(), patch_size)


class PredictionSpread:
    """How much the numbers of the clean prediction x̂_1 differ within a patch: their variance."""

    def __call__(
        self, x_t: Tensor, t: PatchTime, output: FieldOutput, patch_size: int
    ) -> Float[Tensor, "B N"]:
        path = LinearPath(patch_size)
        return _variance(path.predict_data(x_t.float(), output.velocity.float(), t), patch_size)


class _Remembering:
    """What was known of a run's patches at the last time that they all shared.

    A call at no later time, or of other images, begins a new run.
    """

    def __init__(self) -> None:
        self._time = -1.0
        self._shape: torch.Size | None = None
        self._prediction: Tensor | None = None
        self._difficulty: Tensor | None = None

    def _at_shared_time(self, x_t: Tensor, t: PatchTime) -> None:
        now = max(t.known) if t.known else float(t.values.max())  # the second: a GPU waits
        if x_t.shape != self._shape or now <= self._time:
            self._prediction = self._difficulty = None
        self._time, self._shape = now, x_t.shape


class PredictionChange(_Remembering):
    """How far the clean prediction x̂_1 moved since the step before: mean square over a patch.

    In a run's first step, how far it is from its mean over the image. Evaluations in which patches
    have times of their own change nothing: they keep the difficulty of the step.
    """

    def __call__(
        self, x_t: Tensor, t: PatchTime, output: FieldOutput, patch_size: int
    ) -> Float[Tensor, "B N"]:
        if t.num_levels > 1 and self._difficulty is not None:
            return self._difficulty
        self._at_shared_time(x_t, t)
        path = LinearPath(patch_size)
        now = path.predict_data(x_t.float(), output.velocity.float(), t)
        before = self._prediction
        if before is None:
            before = now.mean(dim=(2, 3), keepdim=True)
        self._prediction = now
        self._difficulty = pool((now - before).square(), patch_size)
        return self._difficulty


class GuidanceGap(_Remembering):
    """How much guidance changes the velocity: mean square over a patch.

    Once guidance has ended, what it was at last. Raises UserError where it has not begun.
    """

    def __call__(
        self, x_t: Tensor, t: PatchTime, output: FieldOutput, patch_size: int
    ) -> Float[Tensor, "B N"]:
        if t.num_levels == 1:
            self._at_shared_time(x_t, t)
        if output.guided is None and self._difficulty is None:
            raise UserError(
                "the gap of guidance is not known without guidance: give the field one, of a scale "
                "other than 1, from t = 0 on"
            )
        if output.guided is not None:
            gap = (output.velocity - output.unguided).float().square()
            self._difficulty = _where(output.guided, pool(gap, patch_size), self._difficulty)
        assert self._difficulty is not None
        return self._difficulty


PROXIES: dict[str, Callable[[], Proxy]] = {
    "change": PredictionChange,
    "gap": GuidanceGap,
    "spread": VelocitySpread,
    "contrast": PredictionSpread,
}


def with_difficulty(field: Field, proxy: str | Proxy) -> Field:
    """The same field with a difficulty, for samplers that order patches by one.

    proxy: change, contrast, gap or spread, or one of your own. It sees one run at a time. Around an
    `EditField`, not within one: there all patches share the clock.
    Raises UserError for an unknown name.
    """
    if isinstance(proxy, str):
        if proxy not in PROXIES:
            raise unknown_name("proxy", proxy, PROXIES)
        proxy = PROXIES[proxy]()
    return (_Keeping if isinstance(field, KeepingField) else _Rated)(field, proxy)


class _Rated:
    """A field with the difficulty of a proxy."""

    def __init__(self, field: Field, proxy: Proxy):
        self.field, self.proxy = field, proxy

    @property
    def patch_size(self) -> int:
        """P."""
        return self.field.patch_size

    def __call__(
        self, x_t: Tensor, t: PatchTime, *, guided: bool = True, recall: Recall | None = None
    ) -> FieldOutput:
        options = {} if recall is None else {"recall": recall}
        output = self.field(x_t, t, guided=guided, **options)
        return output._replace(difficulty=self.proxy(x_t, t, output, self.patch_size))


class _Keeping(_Rated):
    """The same, of a field that keeps patches."""

    field: KeepingField  # type: ignore[assignment]

    @property
    def kept(self) -> Bool[Tensor, " N"]:
        """The patches that no image changes in."""
        return self.field.kept

    @property
    def num_kept(self) -> int:
        """Their number."""
        return self.field.num_kept


def _variance(values: Float[Tensor, "B C H W"], patch_size: int) -> Float[Tensor, "B N"]:
    mean = spread(pool(values, patch_size), values.shape[-2:], patch_size)
    return pool((values - mean).square(), patch_size)


def _where(marked: Tensor, new: Tensor, old: Tensor | None) -> Tensor:
    return new if old is None else new.where(marked, old)
