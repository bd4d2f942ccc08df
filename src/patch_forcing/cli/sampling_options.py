"""How to sample, as options of a command: every field of a `SampleRequest`, by its short name."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg

from patch_forcing.core.errors import UserError, check_range, unknown_name
from patch_forcing.core.registry import build
from patch_forcing.generation.find import check_model
from patch_forcing.generation.numbers import parse_numbers
from patch_forcing.sampling.grids import GRIDS
from patch_forcing.sampling.guidance_kinds import DEFAULT_KIND, read_kind
from patch_forcing.sampling.names import (
    DEFAULT_SAMPLER,
    OF_PAPER,
    SAMPLER_NAMES,
    SCHEDULE_NAMES,
    listed,
)
from patch_forcing.text.normal import read_prompts

_SAMPLERS = (
    f"{', '.join(SAMPLER_NAMES)}; with options: dual-loop:easy_fraction=0.5. "
    f"Default: the model's, else {DEFAULT_SAMPLER}."
)
_KINDS = (
    f"What guidance leads away from: {DEFAULT_KIND}, the missing one (the default), or noisier, a "
    "prediction with half of the patches noisier and no condition; with options: "
    "noisier:ratio=0.8,keep_condition=true."
)
_COMPAT = f"published: {listed(OF_PAPER, 'and')} as the published code has them under guidance."


@dataclass(frozen=True)
class SamplingOptions:
    """How to sample."""

    sampler: Annotated[str | None, arg(help=_SAMPLERS)] = None
    num_steps: Annotated[int | None, arg(name="steps")] = None
    """Time steps. Without --steps and --nfe: as many as 48 evaluations allow, unguided, 24 of
    samplers of second order."""
    nfe: float | None = None
    """Budget of network evaluations per image, guidance counted; in place of --steps. A sampler
    without options takes the best settings known for it."""
    time_grid: Annotated[str | None, arg(name="grid")] = None
    """How time steps are placed: uniform, shifted:shift=1.6, or fitted, the default of models that
    bring one."""
    guidance_scale: Annotated[float | None, arg(name="guidance")] = None
    """Classifier-free guidance scale; 1 is none, and half the cost. Default: as the model
    recommends."""
    guidance_interval: tuple[float, float] | None = None
    """Times between which guidance acts, such as 0.2,0.9."""
    guidance_schedule: str | None = None
    """How the guidance scale depends on a patch's time: constant (the default), or linear or
    cosine, which rise from none at noise to twice as much at the end."""
    guidance_kind: Annotated[str | None, arg(help=_KINDS)] = None
    autoguidance: str | None = None
    """A weaker model, such as an earlier checkpoint's folder, to be guided away from instead of
    from the missing label; with --guidance."""
    compat: Annotated[str | None, arg(help=_COMPAT)] = None
    size: tuple[int, int] | None = None
    """Height and width of images in pixels, such as 96,160, of a model with rotary positions.
    Default: those of its training."""

    def check(self) -> None:
        """Raises UserError, before torch is loaded, for names that do not exist."""
        sampler = (self.sampler or DEFAULT_SAMPLER).partition(":")[0]
        if sampler not in SAMPLER_NAMES:
            raise unknown_name("sampler", sampler, SAMPLER_NAMES)
        if self.time_grid not in (None, "fitted"):
            build("time grid", GRIDS, self.time_grid)
        if self.guidance_schedule not in (None, *SCHEDULE_NAMES):
            raise unknown_name("guidance schedule", self.guidance_schedule, SCHEDULE_NAMES)
        if self.guidance_kind is not None:
            scale, weak = self.guidance_scale, self.autoguidance
            read_kind(self.guidance_kind, scale, weak, self.compat)
        if self.autoguidance is not None:
            check_model(self.autoguidance)

    def given(self) -> dict[str, Any]:
        """The fields of a `SampleRequest` that were given."""
        return {name: value for name, value in vars(self).items() if value is not None}


def given_prompts(prompt: Sequence[str], file: Path | None) -> list[str] | None:
    """Those of --prompt or of --prompts, or None. Raises UserError for both."""
    if file is None:
        return list(prompt) or None
    if prompt:
        raise UserError(f"--prompts {file} and --prompt exclude each other: give one")
    return read_prompts(file)


def parse_seeds(seeds: str | None, count: int | None) -> list[int] | None:
    """Those that were given, or None. Raises UserError if one is there twice."""
    if count is not None:
        check_range("--count", count, 1)
        if seeds is not None:
            raise UserError(f"--count {count} and --seeds exclude each other: give one")
        return list(range(count))
    if seeds is None:
        return None
    numbers = parse_numbers("--seeds", seeds)
    if len(set(numbers)) < len(numbers):
        twice = next(number for number in numbers if numbers.count(number) > 1)
        raise UserError(f"--seeds: {twice} is there twice, and images are named by their seed")
    return numbers
