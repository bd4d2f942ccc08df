"""Sampling as the published code does, where it differs from ours (method.md §5)."""

from dataclasses import replace

from patch_forcing.core.errors import UserError
from patch_forcing.sampling.dual_loop import DualLoopSampler, RandomOrderSampler
from patch_forcing.sampling.euler import EulerSampler
from patch_forcing.sampling.guidance import Autoguidance, ClassifierFreeGuidance, Guidance
from patch_forcing.sampling.look_ahead import LookAheadSampler
from patch_forcing.sampling.sampler import Sampler


def as_published(sampler: Sampler, guidance: Guidance | None) -> tuple[Sampler, Guidance | None]:
    """The same sampler and guidance with what the published code does differently under guidance.

    Look-ahead's early plain steps and its context push use the unguided conditional velocity, and
    guidance extrapolates the log-variance too.
    Raises UserError for a sampler or guidance that the published code does not have.
    """
    if not isinstance(
        sampler, EulerSampler | RandomOrderSampler | DualLoopSampler | LookAheadSampler
    ):
        raise UserError(
            f"compat published: {type(sampler).__name__} is not of the paper: choose the sampler "
            "euler, random-order, dual-loop or look-ahead"
        )
    if isinstance(guidance, Autoguidance):
        raise UserError("compat published knows no autoguidance: leave one of them out")
    if isinstance(sampler, LookAheadSampler):
        sampler = replace(sampler, unguided_context=True)
    if isinstance(guidance, ClassifierFreeGuidance):
        guidance = replace(guidance, extrapolate_logvar=True)
    return sampler, guidance
