"""Sampling as the published code does, where it differs from ours."""

from dataclasses import replace

from patch_forcing.core.errors import UserError
from patch_forcing.sampling.guidance import Autoguidance, ClassifierFreeGuidance, Guidance
from patch_forcing.sampling.names import OF_PAPER, listed
from patch_forcing.sampling.sampler import Sampler, TrajectorySampler


def as_published(sampler: Sampler, guidance: Guidance | None) -> tuple[Sampler, Guidance | None]:
    """The same sampler and guidance with what the published code does differently under guidance.

    Look-ahead's early plain steps and its context push use the unguided conditional velocity, and
    guidance extrapolates the log-variance too.
    Raises UserError for a sampler or guidance that the published code does not have.
    """
    if not (isinstance(sampler, TrajectorySampler) and sampler.of_paper):
        raise UserError(
            f"compat published: {type(sampler).__name__} is not of the paper: choose the sampler "
            f"{listed(OF_PAPER)}"
        )
    if isinstance(guidance, Autoguidance):
        raise UserError("compat published knows no autoguidance: leave one of them out")
    if isinstance(guidance, ClassifierFreeGuidance):
        guidance = replace(guidance, extrapolate_logvar=True)
    return sampler.as_published(), guidance
