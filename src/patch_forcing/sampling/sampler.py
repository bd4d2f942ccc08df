"""What a sampler is: it takes noise to samples along a time grid, and plans its evaluations."""

from abc import ABC, abstractmethod
from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from patch_forcing.core.random import Generator
from patch_forcing.sampling.evaluation import Callback, SampleResult
from patch_forcing.sampling.field import Field
from patch_forcing.sampling.trajectory import Trajectory


class Call(NamedTuple):
    """An evaluation that is to come.

    times: all that patches are at. share: of the patches that are computed; more where guidance
    sets in or ends since the last whole evaluation. guided: not the bare conditional velocity.
    reuse: what guidance adds may come from earlier ones.
    """

    times: tuple[float, ...]
    share: float = 1.0
    guided: bool = True
    reuse: bool = False


@runtime_checkable
class Sampler(Protocol):
    """From noise to samples along a time grid."""

    def __call__(
        self,
        field: Field,
        x_0: Float[Tensor, "B C H W"],
        time_grid: list[float] | Tensor,
        *,
        generator: Generator = None,
        trace: bool = False,
        callback: Callback | None = None,
    ) -> SampleResult:
        """generator: for samplers that draw; with one stream per image, no image depends on others.

        Raises UserError for a grid that does not rise from 0 to 1, or a field without the
        difficulty that the sampler needs, or that returns NaN, naming the step.
        """
        ...

    def plan(self, time_grid: list[float], num_patches: int) -> list[Call]:
        """The evaluations that a run on this grid takes, in order, for images of N patches.

        Where patches choose for themselves, the most that it can take.
        """
        ...


class TrajectorySampler(ABC):
    """A `Sampler` that says how one trajectory goes; starting and ending it is the same for all."""

    @abstractmethod
    def follow(
        self, run: Trajectory, time_grid: list[float] | Tensor, generator: Generator
    ) -> None:
        """Take the run from noise to data."""

    def __call__(
        self,
        field: Field,
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
