"""Guidance: one prediction made out of two, patch by patch in time."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from patch_forcing.core.active import ActiveTokens, active_option
from patch_forcing.core.errors import UserError, check_range, unknown_name
from patch_forcing.core.output import Model, ModelOutput, Network, first_rows, prepared
from patch_forcing.core.patches import spread
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


class Query(NamedTuple):
    """What a model is called with: images, times, their condition, and which tokens it computes.

    condition: a tensor, None, or what `prepared` made of one.
    """

    x_t: Float[Tensor, "B C H W"]
    t: PatchTime
    condition: Any
    active: ActiveTokens | None = None

    def ask(self, model: Network) -> ModelOutput:
        """The model's prediction."""
        return model(self.x_t, self.t, self.condition, **active_option(self.active))


class Pair(NamedTuple):
    """The prediction to follow, and the one to leave behind."""

    good: ModelOutput
    bad: ModelOutput


@dataclass(frozen=True)
class Guidance(ABC):
    """v = v_bad + scale·(v_good − v_bad) where a patch's t lies in `interval`, else v = v_good.

    A kind of guidance says what the good and the bad prediction are.

    scale: 0 or more; 1 is no guidance.
    interval: (low, high), 0 ≤ low < high ≤ 1, ends included (Kynkäänniemi et al. 2024); None is
    all of time. While no patch is inside, a call costs one evaluation.
    extrapolate_logvar: apply the formula to the log-variance too, as the published code does;
    otherwise difficulty is that of the good prediction.
    schedule: how the scale depends on a patch's time. It is constant, or it rises (linear, cosine)
    from 1 at t = 0 to 2·scale − 1 at t = 1 and is `scale` on average; `scale` is then 1 or more.
    Raises UserError for values out of range.
    """

    scale: float
    interval: Interval | None = None
    extrapolate_logvar: bool = False
    schedule: str = "constant"

    is_drawn: ClassVar[bool] = False
    """Whether the bad prediction depends on numbers that are drawn anew at every evaluation."""

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise unknown_name("guidance schedule", self.schedule, SCHEDULES)
        if self.schedule == "constant":
            check_range("guidance scale", self.scale, 0, mend="; 1 is none")
        else:
            mend = f" with a {self.schedule} schedule"
            check_range("guidance scale", self.scale, 1, mend=mend)
        if self.interval is not None and not 0 <= self.interval[0] < self.interval[1] <= 1:
            raise UserError(
                f"guidance interval {self.interval}: give two times, 0 <= low < high <= 1"
            )

    def for_images(
        self,
        seeds: Sequence[int] | Int64[Tensor, " B"],
        time_grid: Sequence[float] = (),
        device: torch.device | str | None = None,
    ) -> "Guidance":
        """The same for a batch: what it draws depends on each image's seed and time alone.

        time_grid: of the sampler. device: where the images are.
        """
        return self

    @abstractmethod
    def check(self, condition: Tensor | None) -> None:
        """Raises UserError if there is nothing to guide by under this condition."""

    @abstractmethod
    def prepare(self, model: Network, condition: Tensor | None, batch: int) -> Any:
        """The condition of both predictions, made once for all evaluations of so many images."""

    @abstractmethod
    def alone(self, both: Any, batch: int) -> Any:
        """That of the good prediction."""

    @abstractmethod
    def predict(self, model: Network, query: Query) -> Pair:
        """Both predictions, at the cost of two evaluations; the query's condition is prepared."""

    def acts_at(self, times: Iterable[float]) -> bool:
        """Whether one of the times lies in the interval, rounded to fp32 as times are."""
        low, high = self._bounds
        return any(low <= np.float32(time) <= high for time in times)

    def where(self, t: PatchTime) -> Bool[Tensor, "B N"] | None:
        """The patches whose time lies in the interval; None if no patch's does."""
        if t.known is not None and not self.acts_at(t.known):
            return None
        low, high = self._bounds
        dense = t.to_dense()
        inside = (dense >= float(low)) & (dense <= float(high))
        return inside if t.known is not None or inside.any() else None

    @property
    def end(self) -> float:
        """The time after which nothing is guided; infinite if guidance lasts to the end."""
        high = self._bounds[1]
        return float(high) if high < 1 else float("inf")

    def combine(
        self, pair: Pair, t: PatchTime, where: Bool[Tensor, "B N"], patch_size: int
    ) -> ModelOutput:
        """The guided prediction in the patches of `where`, the good one elsewhere."""
        size = pair.good.velocity.shape[-2:]
        pixels = spread(where, size, patch_size)
        scale: Tensor | float = self.scale
        if self.schedule != "constant":
            per_patch = 1 + (self.scale - 1) * SCHEDULES[self.schedule](t.to_dense())
            scale = spread(per_patch, size, patch_size)

        def guided(good: Tensor, bad: Tensor) -> Tensor:
            return torch.where(pixels, bad + scale * (good - bad), good)

        logvar = pair.good.logvar
        if self.extrapolate_logvar:
            if logvar is None or pair.bad.logvar is None:
                raise UserError("extrapolate_logvar=True, but a model predicts none: leave it out")
            logvar = guided(logvar, pair.bad.logvar)
        return ModelOutput(guided(pair.good.velocity, pair.bad.velocity), logvar)

    @property
    def _bounds(self) -> tuple[np.float32, np.float32]:
        low, high = self.interval or (0.0, 1.0)
        return np.float32(low), np.float32(high)


@dataclass(frozen=True)
class ClassifierFreeGuidance(Guidance):
    """v = v_∅ + scale·(v_c − v_∅): away from the null condition (Ho & Salimans 2022)."""

    def check(self, condition: Tensor | None) -> None:
        if condition is None:
            raise UserError("guidance without a condition: give labels, or leave guidance out")

    def prepare(self, model: Network, condition: Tensor | None, batch: int) -> Any:
        assert condition is not None
        if not isinstance(model, Model):
            raise UserError(
                "guidance drops the condition: give the network check_condition and drop_condition"
            )
        everything = torch.ones(batch, dtype=torch.bool, device=condition.device)
        both = torch.cat([condition, model.drop_condition(condition, everything)])
        return prepared(model, both, 2 * batch)

    def alone(self, both: Any, batch: int) -> Any:
        return first_rows(both, batch)

    def predict(self, model: Network, query: Query) -> Pair:
        x_t, t, both, active = query
        if active is not None:
            active = active.tile(2, len(x_t) * t.num_patches)
        output = Query(x_t.repeat(2, 1, 1, 1), t.tile(2), both, active).ask(model)
        logvars = (None, None) if output.logvar is None else output.logvar.chunk(2)
        good, bad = map(ModelOutput, output.velocity.chunk(2), logvars)
        return Pair(good, bad)


@dataclass(frozen=True)
class _WeakModel:
    """A base of its own, so that its field comes before those of Guidance."""

    weak_model: Model


@dataclass(frozen=True)
class Autoguidance(Guidance, _WeakModel):
    """v = v_weak + scale·(v − v_weak), with a weaker model of the data (Karras et al. 2024)."""

    def check(self, condition: Tensor | None) -> None:
        if condition is not None:
            self.weak_model.check_condition(condition, len(condition))

    def prepare(self, model: Network, condition: Tensor | None, batch: int) -> Any:
        return tuple(prepared(one, condition, batch) for one in (model, self.weak_model))

    def alone(self, both: Any, batch: int) -> Any:
        return both[0]

    def predict(self, model: Network, query: Query) -> Pair:
        models, active = (model, self.weak_model), query.active
        queries = [query._replace(condition=own) for own in query.condition]
        if active is not None:
            if active.tokens is None:
                active.memory.extend([] for _ in models)  # a memory for either model
            parts = [ActiveTokens(active.tokens, memory) for memory in active.memory]
            queries = [own._replace(active=part) for own, part in zip(queries, parts, strict=True)]
        return Pair(*(own.ask(one) for own, one in zip(queries, models, strict=True)))


def reuses(before: int) -> bool:
    """Whether an evaluation may take what guidance added at earlier ones, instead of computing it.

    before: the evaluations within the interval until now. The first two are guided, since they say
    how fast that part fades; from then on every second one is.
    """
    return before >= 2 and before % 2 == 0
