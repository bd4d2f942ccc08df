"""How to sample: what a user asks for, and what that is for one model."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol, TypeVar, runtime_checkable

from torch import Tensor

from patch_forcing.core.errors import UserError, unknown_name
from patch_forcing.core.registry import build
from patch_forcing.core.time_grid import check_grid
from patch_forcing.generation.sizes import cells_of, check_size, num_patches
from patch_forcing.models.config import PatchDiTConfig
from patch_forcing.models.dit import PatchDiT
from patch_forcing.sampling.compat import as_published
from patch_forcing.sampling.grids import GRIDS, Grid, QuantileGrid, uniform_grid
from patch_forcing.sampling.guidance import (
    Autoguidance,
    ClassifierFreeGuidance,
    Guidance,
    Interval,
)
from patch_forcing.sampling.guidance_kinds import DEFAULT_KIND, NoisierPatches, read_kind
from patch_forcing.sampling.names import DEFAULT_SAMPLER
from patch_forcing.sampling.noisier import NoisierGuidance
from patch_forcing.sampling.sampler import Planned, Sampler
from patch_forcing.sampling.samplers import (
    SAMPLERS,
    check_difficulty,
    check_guidance,
    count_evaluations,
    few_evaluations,
    preset,
    steps_within,
    usual_calls,
)

Call = TypeVar("Call", bound=Callable[..., object])


@runtime_checkable
class NamedModel(Protocol):
    """A model with the name that messages call it by, and the hash that records know it by."""

    name: str
    hash: str
    model: PatchDiT


@dataclass(frozen=True)
class SampleRequest:
    """How to sample, whatever the model; validated when built.

    sampler: a name, `name:option=value`, or a sampler. num_steps or nfe: steps, or a budget of
    network evaluations (guidance counted), for which a sampler without options takes the best
    settings known, as the result says; without either, as many steps as 48 calls of the field
    allow, 24 for samplers of second order. time_grid: how steps are placed: uniform,
    shifted:shift=1.6, or fitted, which is the default of models that bring one; or the times
    themselves, in place of steps.
    guidance_scale: 1 is none. guidance_interval: times between which it acts. guidance_schedule:
    constant, linear or cosine (`ClassifierFreeGuidance`). guidance_kind: what it leads away from:
    condition, the missing one, or noisier:ratio=0.8,keep_condition=false (`NoisierGuidance`).
    autoguidance: a pipeline of a weaker model to be guided away from, in place of both.
    compat: published, for the samplers of the paper: what their published code does differently
    under guidance (`as_published`), in equal steps, with settings as they are.
    size: height and width of images in pixels, of a model with rotary positions; None: those of its
    training.
    Raises UserError for values out of range, names that do not exist, and options that exclude each
    other.
    """

    sampler: str | Sampler = DEFAULT_SAMPLER
    num_steps: int | None = None
    nfe: float | None = None
    time_grid: str | Sequence[float] | Tensor | None = None
    guidance_scale: float = 1.0
    guidance_interval: Interval | None = None
    guidance_schedule: str = "constant"
    guidance_kind: str = DEFAULT_KIND
    autoguidance: NamedModel | None = None
    compat: str | None = None
    size: Sequence[int] | None = None

    def __post_init__(self) -> None:
        guidance = self._guidance()
        if self.compat not in (None, "published"):
            raise unknown_name("compat", str(self.compat), ["published"])
        solver = _solver(self.sampler)
        if self.compat is not None:
            as_published(solver, guidance)
        if self.size is not None:
            object.__setattr__(self, "size", check_size(self.size))
        if self.time_grid is None or isinstance(self.time_grid, str):
            if self.num_steps is not None and self.nfe is not None:
                raise UserError("steps and nfe exclude each other: give one of them")
            if self.time_grid not in (None, "fitted"):
                build("time grid", GRIDS, self.time_grid)
            if self.num_steps is not None:
                uniform_grid(self.num_steps)  # every grid takes as many steps
        elif self.num_steps is None and self.nfe is None:
            object.__setattr__(self, "time_grid", tuple(check_grid(self.time_grid)))
        else:
            raise UserError("times and a number of steps exclude each other: give one of them")

    def resolve(
        self,
        model: PatchDiT,
        name: str = "this model",
        planned: Callable[[Sampler], Planned] = lambda sampler: sampler,
    ) -> "Sampling":
        """What this is for a model, which messages call by that name.

        planned: what is counted within a budget in place of the sampler's evaluations.
        Raises UserError for a fitted grid that the model does not bring, for a weak model that
        makes other images, for a budget that no step fits into, for a sampler that orders patches
        by difficulty where the model predicts none, and for one that does not go with the guidance.
        """
        guidance = self._guidance()
        if self.autoguidance is not None:
            _check_weak(self.autoguidance, model, name)
        rule = self.time_grid if isinstance(self.time_grid, str) else None
        if rule is None and self.compat is not None:
            rule = "uniform"
        placing = _placing(rule, model, name)
        cells = None if self.size is None else cells_of(self.size, model, name)
        sampler, patches = self.sampler, num_patches(model.config, cells)
        if isinstance(sampler, str) and self.nfe is not None and self.compat is None:
            sampler = preset(sampler, self.nfe, patches, guidance, placing)
        solver = _solver(sampler)
        if self.compat is not None:
            solver, guidance = as_published(solver, guidance)
        check_difficulty(solver, model.config.predict_difficulty)
        check_guidance(solver, guidance)
        if isinstance(self.time_grid, tuple):
            grid: Sequence[float] = self.time_grid
        elif self.num_steps is not None:
            grid = placing(self.num_steps)
        elif self.nfe is not None:
            counted = planned(solver)
            grid = placing(steps_within(counted, self.nfe, patches, guidance, placing))
        else:
            grid = placing(steps_within(solver, usual_calls(solver), patches, make_grid=placing))
        text = sampler if isinstance(sampler, str) else repr(sampler)
        return Sampling(self, text, solver, tuple(grid), guidance, cells)

    @property
    def kind_of_guidance(self) -> str | None:
        """As it is written; None of the usual one, which records do not name."""
        return None if self.guidance_kind == DEFAULT_KIND else self.guidance_kind

    def _guidance(self) -> Guidance | None:
        scale, interval, schedule = (
            self.guidance_scale,
            self.guidance_interval,
            self.guidance_schedule,
        )
        weak = self.autoguidance
        kind = read_kind(self.guidance_kind, scale, weak, self.compat)
        if scale == 1:
            chosen = {
                "interval": interval,
                "schedule": None if schedule == "constant" else schedule,
                "weak model": weak and weak.name,
            }
            for what, value in chosen.items():
                if value is not None:
                    raise UserError(
                        f"guidance {what} {value} without guidance: give a scale other than 1"
                    )
            return None
        if isinstance(kind, NoisierPatches):
            return NoisierGuidance(scale, interval, schedule=schedule, **asdict(kind))
        if weak is None:
            return ClassifierFreeGuidance(scale, interval, schedule=schedule)
        return Autoguidance(weak.model, scale, interval, schedule=schedule)


@dataclass(frozen=True)
class Sampling:
    """A request for one model: all that images depend on besides it, their seeds and conditions.

    name: the sampler's, as it is written, with the settings that the budget chose. cells: height
    and width of what the network makes; None: those of its training.
    """

    request: SampleRequest
    name: str
    sampler: Sampler
    time_grid: tuple[float, ...]
    guidance: Guidance | None
    cells: tuple[int, int] | None = None

    def few(self, config: PatchDiTConfig) -> str:
        """A sentence that says so if the evaluations are fewer than were good; else nothing."""
        return few_evaluations(self.evaluations(config), self.guidance is not None)

    def evaluations(self, config: PatchDiTConfig, guided: bool = True) -> float:
        """Evaluations of an image, as `count_evaluations` has them. guided: guidance counted."""
        patches, guidance = num_patches(config, self.cells), self.guidance if guided else None
        return count_evaluations(self.sampler, list(self.time_grid), patches, guidance)

    def record(self) -> dict[str, object]:
        """What `samples.json` and the plan of an array of images say of it."""
        request, weak = self.request, self.request.autoguidance
        unusual = {"guidance_kind": request.kind_of_guidance, "size": request.size}
        return {
            "sampler": self.name,
            "grid": self.time_grid,
            "guidance": request.guidance_scale,
            "guidance_interval": request.guidance_interval,
            "guidance_schedule": request.guidance_schedule,
            "weak_model_hash": None if weak is None else weak.hash,
            "compat": request.compat,
            **{name: value for name, value in unusual.items() if value is not None},
        }


def shows_request(call: Call) -> Call:
    """Lists the fields of a SampleRequest in the signature of a method that takes `**options`."""
    signature = inspect.signature(call)
    first, last = [], []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            last.append(parameter)
        elif parameter.kind is not parameter.VAR_KEYWORD:
            first.append(parameter)
    fields = inspect.signature(SampleRequest).parameters.values()
    fields_by_keyword = [field.replace(kind=field.KEYWORD_ONLY) for field in fields]
    shown = signature.replace(parameters=[*first, *fields_by_keyword, *last])
    call.__dict__["__signature__"] = shown
    return call


def _solver(sampler: str | Sampler) -> Sampler:
    return build("sampler", SAMPLERS, sampler) if isinstance(sampler, str) else sampler


def _placing(rule: str | None, model: PatchDiT, name: str) -> Grid:
    """The rule of that name for placing steps; None is the model's own, if it has one."""
    fitted = model.sampling_info.time_quantiles
    if rule == "fitted" and not fitted:
        raise UserError(
            f"{name} has no fitted time grid: choose uniform or shifted, or fit one with "
            f"patch-forcing bench grid {name}"
        )
    if fitted and rule in (None, "fitted"):
        return QuantileGrid(fitted)
    return build("time grid", GRIDS, "uniform" if rule is None else rule)


def _check_weak(weak: NamedModel, model: PatchDiT, name: str) -> None:
    """Raises UserError unless the weak model makes images of the same kind."""
    for what in ("in_channels", "image_size", "patch_size", "num_classes", "condition"):
        theirs, ours = getattr(weak.model.config, what), getattr(model.config, what)
        if theirs != ours:
            raise UserError(
                f"{weak.name} has {what} {theirs}, {name} has {ours}: guide by a weaker model of "
                "the same images"
            )
    difference = model.data_info.mismatch(weak.model.data_info)
    if difference:
        raise UserError(
            f"the images of {weak.name} have {difference}, as those of {name}: guide by a weaker "
            "model of the same images"
        )
