"""What a sampler is: it takes noise to samples along a time grid, and plans its evaluations."""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from patch_forcing.core.random import Generator
from patch_forcing.sampling.evaluation import Callback, SampleResult
from patch_forcing.sampling.field import Field
from patch_forcing.sampling.function_field import VelocityFunction
from patch_forcing.sampling.trajectory import Trajectory


class Call(NamedTuple):
    """An evaluation that is to come.

    times: all times that patches are at. share: of the patches that are computed; all are where
    guidance sets in or ends since the last whole evaluation. guided: not the bare conditional
    velocity. reuse: what guidance adds may come from earlier evaluations.
    """

    times: tuple[float, ...]
    share: float = 1.0
    guided: bool = True
    reuse: bool = False


@runtime_checkable
class Planned(Protocol):
    """What evaluations can be counted of."""

    def plan(self, time_grid: list[float], num_patches: int) -> list[Call]:
        """The evaluations that a run on this grid takes, in order, for images of N patches."""
        ...


@runtime_checkable
class Sampler(Protocol):
    """From noise to samples along a time grid."""

    @property
    def order(self) -> int:
        """The power of the step by which the error at the end falls."""
        ...

    @property
    def needs_difficulty(self) -> bool:
        """Whether it orders patches by the difficulty that a model predicts."""
        ...

    def __call__(
        self,
        field: Field | VelocityFunction,
        x_0: Float[Tensor, "B C H W"],
        time_grid: list[float] | Tensor,
        *,
        generator: Generator = None,
        trace: bool = False,
        callback: Callback | None = None,
    ) -> SampleResult:
        """The samples of this noise.

        field: a `Field`, or a plain function of (x_t, t (B,)), as `FunctionField` takes it.
        time_grid: K + 1 times that rise from 0 to 1. generator: for samplers that draw; with one
        stream per image, no image depends on the others. trace: keep every evaluation. callback: is
        given every evaluation as it is done.
        Raises UserError for a grid that does not rise from 0 to 1, for a field without the
        difficulty that the sampler needs, and for one that returns NaN, naming the step.
        """
        ...

    def plan(self, time_grid: list[float], num_patches: int) -> list[Call]:
        """The evaluations that a run on this grid takes, in order, for images of N patches.

        Where patches choose for themselves, the most that it can take.
        """
        ...


class TrajectorySampler(ABC):
    """A `Sampler` that says how a trajectory goes on; all trajectories start and end alike.

    of_paper: whether the paper (arXiv 2604.19141) has it, and its published code.
    """

    of_paper: ClassVar[bool] = False
    order: int = 1  # no ClassVar: of one sampler it is an option

    @property
    def needs_difficulty(self) -> bool:
        """Whether it orders patches by the difficulty that a model predicts."""
        return False

    @property
    def steady_guidance(self) -> str:
        """The option to change where guidance is drawn anew at every evaluation, as NAME=VALUE.

        Empty if nothing is carried on, along its change, of what guidance was before.
        """
        return ""

    @abstractmethod
    def follow(
        self, run: Trajectory, time_grid: list[float] | Tensor, generator: Generator
    ) -> None:
        """Take the run from noise to data."""

    def plan(self, time_grid: list[float], num_patches: int) -> list[Call]:
        """One evaluation a step, of all patches, at its start."""
        return [Call((now,)) for now in time_grid[:-1]]

    def as_published(self) -> "TrajectorySampler":
        """What the published code does under guidance, where it differs from ours."""
        return self

    def __call__(
        self,
        field: Field | VelocityFunction,
        x_0: Float[Tensor, "B C H W"],
        time_grid: list[float] | Tensor,
        *,
        generator: Generator = None,
        trace: bool = False,
        callback: Callback | None = None,
    ) -> SampleResult:
        run = Trajectory(field, x_0, trace=trace, callback=callback)
        self.follow(run, time_grid, generator)
        return run.result()
