"""The samplers by name, and how many steps a budget of evaluations buys."""

from collections.abc import Callable
from typing import Any, NamedTuple

from patch_forcing.core.errors import UserError, check_range
from patch_forcing.sampling.adams_bashforth import AdamsBashforthSampler
from patch_forcing.sampling.dual_loop import DualLoopSampler, RandomOrderSampler
from patch_forcing.sampling.euler import EulerSampler
from patch_forcing.sampling.euler_maruyama import EulerMaruyamaSampler
from patch_forcing.sampling.experimental.adaptive import AdaptiveSampler
from patch_forcing.sampling.experimental.multirate import MultirateSampler
from patch_forcing.sampling.grids import MAX_STEPS, uniform_grid
from patch_forcing.sampling.guidance import Guidance, reuses
from patch_forcing.sampling.heun import HeunSampler
from patch_forcing.sampling.look_ahead import LookAheadSampler
from patch_forcing.sampling.names import listed
from patch_forcing.sampling.sampler import Planned, Sampler, TrajectorySampler

SAMPLERS: dict[str, type[Any]] = {
    "euler": EulerSampler,
    "adams-bashforth": AdamsBashforthSampler,
    "heun": HeunSampler,
    "euler-maruyama": EulerMaruyamaSampler,
    "random-order": RandomOrderSampler,
    "dual-loop": DualLoopSampler,
    "look-ahead": LookAheadSampler,
    "multirate": MultirateSampler,
    "adaptive": AdaptiveSampler,
}


def check_difficulty(sampler: Sampler, predicted: bool) -> None:
    """Raises UserError if the sampler needs a difficulty that the model does not predict."""
    if sampler.needs_difficulty and not predicted:
        able = (name for name, known in SAMPLERS.items() if not known().needs_difficulty)
        raise UserError(
            f"this model predicts no difficulty, which {_name(sampler)} orders patches by: sample "
            f"with {listed(able)}"
        )


def check_guidance(sampler: Sampler, guidance: Guidance | None) -> None:
    """Raises UserError if the sampler carries on what is drawn anew at every evaluation."""
    drawn = guidance is not None and guidance.is_drawn
    if drawn and isinstance(sampler, TrajectorySampler) and sampler.steady_guidance:
        raise UserError(
            f"{_name(sampler)} carries on what guidance was before, and this kind of guidance is "
            f"drawn anew at every evaluation: give the sampler {sampler.steady_guidance}"
        )


def _name(sampler: Sampler) -> str:
    kind = type(sampler)
    return next((name for name, known in SAMPLERS.items() if known is kind), kind.__name__)


class Preset(NamedTuple):
    """What a sampler without options is, in runs of at most so many calls of the field.

    guided: only with guidance, of one scale, within an interval: as measured.
    """

    calls: float
    settings: str
    guided: bool = False


PRESETS = {
    "adams-bashforth": Preset(8, "adams-bashforth:reuse_guidance=true", guided=True),
    "multirate": Preset(20, "multirate:rates=1,shares=1"),
    "dual-loop": Preset(30, "dual-loop:easy_fraction=0.6,inner_steps=2"),
}
"""Where a sampler's usual settings would be worse (docs/results/samplers.md, emoji/tables.md): some
patches would have too few steps, or all would, for evaluations that guidance does not need."""


def usual_calls(sampler: Sampler) -> int:
    """Calls of the field in a run whose length is not given: more is hardly seen in the images."""
    return 24 if sampler.order == 2 else 48


FEWEST, FEWEST_GUIDED = 6, 8
"""Evaluations an image, without and with guidance: the fewest at which samples were measured to be
good (docs/results/emoji/tables.md)."""


def few_evaluations(nfe: float, guided: bool) -> str:
    """A sentence that says so if a run takes fewer evaluations than were good; else nothing."""
    fewest = FEWEST_GUIDED if guided else FEWEST
    if nfe >= fewest:
        return ""
    count = f"{nfe:g} evaluations are" if nfe != 1 else "1 evaluation is"
    return f"{count} few, and images may be blurred: take --nfe {fewest} or more"


class BudgetError(UserError):
    """Not even one step of a sampler fits."""


def count_evaluations(
    sampler: Planned,
    time_grid: list[float],
    num_patches: int,
    guidance: Guidance | None = None,
) -> float:
    """Network evaluations that a run takes for images of N patches: what its result says as nfe.

    Of samplers whose patches choose for themselves, the most that it can say.
    """
    total, guided_before, inside = 0.0, False, 0
    for call in sampler.plan(time_grid, num_patches):
        guided = call.guided and guidance is not None and guidance.acts_at(call.times)
        inside += guided
        guided &= not (call.reuse and reuses(inside - 1))
        # keys and values of waiting patches are of no use once guidance sets in or ends
        share = call.share if guided == guided_before else 1.0
        guided_before = guided
        total += (2 if guided else 1) * share
    return total


def steps_within(
    sampler: Planned,
    budget: float,
    num_patches: int,
    guidance: Guidance | None = None,
    make_grid: Callable[[int], list[float]] = uniform_grid,
) -> int:
    """The most steps whose network evaluations stay within `budget`.

    num_patches: N of the images. Raises BudgetError if not even one step fits.
    """

    def needed(steps: int) -> float:
        return count_evaluations(sampler, make_grid(steps), num_patches, guidance)

    check_range("nfe", budget, high=MAX_STEPS)
    most = budget + 1e-6  # shares are fractions, whose sum rounds
    if needed(1) > most:
        raise BudgetError(
            f"{budget:g} evaluations are too few: one step of this sampler takes {needed(1):g}, "
            "give at least so many, or a number of steps"
        )
    enough, too_many = 1, int(most) + 1  # a step takes at least one evaluation
    while too_many - enough > 1:
        middle = (enough + too_many) // 2
        enough, too_many = (middle, too_many) if needed(middle) <= most else (enough, middle)
    # where guidance sets in or ends within a step, all is computed: one step more can cost less
    return max(n for n in range(enough, enough + 8) if n == enough or needed(n) <= most)


def preset(
    name: str,
    budget: float,
    num_patches: int,
    guidance: Guidance | None = None,
    make_grid: Callable[[int], list[float]] = uniform_grid,
) -> str:
    """The best known settings of that sampler for so many network evaluations.

    `name` as the registry takes it; with options, it stays as it is. The rest: as `steps_within`.
    """
    if name not in PRESETS:
        return name
    best = PRESETS[name]
    if best.guided and (
        guidance is None or guidance.interval is None or guidance.schedule != "constant"
    ):
        return name
    if best.guided and guidance is not None and guidance.is_drawn:
        return name
    usual = SAMPLERS[name]()
    try:
        steps = steps_within(usual, budget, num_patches, guidance, make_grid)
    except BudgetError:
        return best.settings
    calls = count_evaluations(usual, make_grid(steps), num_patches)
    return best.settings if calls <= best.calls else name
