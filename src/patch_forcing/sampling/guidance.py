"""Guidance: one prediction made out of two, patch by patch in time."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from patch_forcing.core.active import ActiveTokens, asked
from patch_forcing.core.errors import UserError, unknown_name
from patch_forcing.core.output import Model, ModelOutput
from patch_forcing.core.time import PatchTime

Interval = tuple[float, float]

SCHEDULES: dict[str, Callable[[Tensor], Tensor]] = {
    "constant": torch.ones_like,
    "linear": lambda t: 2 * t,
    "cosine": lambda t: 1 - (torch.pi * t).cos(),
}
"""By what a patch's excess of the scale over 1 is multiplied at its time; 1 on average over time.

Wang et al. 2024 (arXiv 2404.13040): what rises from noise to data is better than a constant.
"""


class Pair(NamedTuple):
    """The prediction to follow, and the one to leave behind."""

    good: ModelOutput
    bad: ModelOutput


@runtime_checkable
class Guidance(Protocol):
    """What a VelocityField asks of guidance."""

    @property
    def scale(self) -> float: ...

    @property
    def interval(self) -> Interval | None: ...

    @property
    def extrapolate_logvar(self) -> bool: ...

    @property
    def schedule(self) -> str: ...

    def check(self, condition: Tensor | None) -> None:
        """Raises UserError if there is nothing to guide."""

    def predict(
        self,
        model: Model,
        x_t: Tensor,
        t: PatchTime,
        condition: Tensor | None,
        active: ActiveTokens | None = None,
    ) -> Pair:
        """Both predictions, two evaluations; of the active tokens, if given, as for a model."""


def guided_patches(guidance: Guidance, t: PatchTime) -> Bool[Tensor, "B N"] | None:
    """The patches whose time lies in the guidance interval, ends included; None if none does."""
    if t.known is not None and not is_guided(guidance, t.known):
        return None
    low, high = _bounds(guidance)
    dense = t.to_dense()
    inside = (dense >= float(low)) & (dense <= float(high))
    return inside if t.known is not None or inside.any() else None


def is_guided(guidance: Guidance, times: Iterable[float]) -> bool:
    """Whether one of the times lies in the guidance interval, rounded to fp32 as times are."""
    low, high = _bounds(guidance)
    return any(low <= np.float32(time) <= high for time in times)


def ends(guidance: Guidance) -> float:
    """The time after which nothing is guided; inf if that is the end of all."""
    high = _bounds(guidance)[1]
    return float(high) if high < 1 else float("inf")


def reuses(before: int) -> bool:
    """Whether an evaluation may do with what guidance added at earlier ones.

    before: evaluations within the interval until now. The first two say how fast that fades; from
    then on every second one is measured anew.
    """
    return before >= 2 and before % 2 == 0


def _bounds(guidance: Guidance) -> tuple[np.float32, np.float32]:
    low, high = guidance.interval or (0.0, 1.0)
    return np.float32(low), np.float32(high)


def scales(guidance: Guidance, t: PatchTime) -> Float[Tensor, "B N"] | float:
    """The scale at each patch's time, 1 + (scale − 1)·schedule(t); one number if it is constant."""
    if guidance.schedule == "constant":
        return guidance.scale
    return 1 + (guidance.scale - 1) * SCHEDULES[guidance.schedule](t.to_dense())


def extrapolate(
    guidance: Guidance,
    pair: Pair,
    where: Bool[Tensor, "B 1 H W"],
    scale: Float[Tensor, "B 1 H W"] | float,
) -> ModelOutput:
    """Bad + scale·(good − bad) in the pixels of `where`, good elsewhere.

    The log-variance stays the good prediction's, unless the guidance extrapolates it too.
    """

    def guided(good: Tensor, bad: Tensor) -> Tensor:
        return torch.where(where, bad + scale * (good - bad), good)

    logvar = pair.good.logvar
    if guidance.extrapolate_logvar:
        if logvar is None or pair.bad.logvar is None:
            raise UserError("extrapolate_logvar=True, but a model predicts none: leave it out")
        logvar = guided(logvar, pair.bad.logvar)
    return ModelOutput(guided(pair.good.velocity, pair.bad.velocity), logvar)


def _check(scale: float, interval: Interval | None, schedule: str) -> None:
    if schedule not in SCHEDULES:
        raise unknown_name("guidance schedule", schedule, SCHEDULES)
    if schedule != "constant" and scale < 1:
        raise UserError(f"guidance scale {scale} with a {schedule} schedule: choose 1 or more")
    if not 0 <= scale < float("inf"):
        raise UserError(f"guidance scale {scale} is out of range: choose 0 or more; 1 is none")
    if interval is not None and not 0 <= interval[0] < interval[1] <= 1:
        raise UserError(f"guidance interval {interval}: give two times, 0 <= low < high <= 1")


@dataclass(frozen=True)
class ClassifierFreeGuidance:
    """v = v_∅ + scale·(v_c − v_∅) (Ho & Salimans 2022), where t lies in `interval`, patch by patch.

    interval: (low, high), 0 ≤ low < high ≤ 1, ends included (Kynkäänniemi et al. 2024); None is
    all of time. Outside it, the conditional velocity; while no patch is inside, one evaluation.
    extrapolate_logvar: apply the formula to the log-variance too, as the published code does;
    otherwise difficulty is the conditional branch's.
    schedule: how the scale depends on a patch's time: constant, or linear or cosine, which rise
    from 1 at t = 0 to 2·scale − 1 at t = 1 and are `scale` on average.
    """

    scale: float
    interval: Interval | None = None
    extrapolate_logvar: bool = False
    schedule: str = "constant"

    def __post_init__(self) -> None:
        _check(self.scale, self.interval, self.schedule)

    def check(self, condition: Tensor | None) -> None:
        if condition is None:
            raise UserError("guidance without a condition: give labels, or leave guidance out")

    def predict(
        self,
        model: Model,
        x_t: Tensor,
        t: PatchTime,
        condition: Tensor | None,
        active: ActiveTokens | None = None,
    ) -> Pair:
        assert condition is not None
        everything = torch.ones(len(x_t), dtype=torch.bool, device=x_t.device)
        both = torch.cat([condition, model.drop_condition(condition, everything)])
        if active is not None:
            active = active.tile(2, len(x_t) * t.num_patches)
        output = model(x_t.repeat(2, 1, 1, 1), t.tile(2), both, **asked(active))
        logvars = (None, None) if output.logvar is None else output.logvar.chunk(2)
        good, bad = map(ModelOutput, output.velocity.chunk(2), logvars)
        return Pair(good, bad)


@dataclass(frozen=True)
class Autoguidance:
    """v = v_weak + scale·(v − v_weak), with a weaker model of the same data (Karras et al. 2024).

    The rest: as in ClassifierFreeGuidance.
    """

    weak_model: Model
    scale: float
    interval: Interval | None = None
    extrapolate_logvar: bool = False
    schedule: str = "constant"

    def __post_init__(self) -> None:
        _check(self.scale, self.interval, self.schedule)

    def check(self, condition: Tensor | None) -> None:
        if condition is not None:
            self.weak_model.check_condition(condition, len(condition))

    def predict(
        self,
        model: Model,
        x_t: Tensor,
        t: PatchTime,
        condition: Tensor | None,
        active: ActiveTokens | None = None,
    ) -> Pair:
        if active is not None and active.tokens is None:
            active.memory.extend(([], []))  # one each
        good, bad = (
            each(
                x_t, t, condition, **asked(active and ActiveTokens(active.tokens, active.memory[k]))
            )
            for k, each in enumerate((model, self.weak_model))
        )
        return Pair(good, bad)
