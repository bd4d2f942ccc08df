"""What is sampled where nobody chooses: as the model recommends, and never in part.

Options come in two groups: the solver, and guidance. An option that is given takes its whole group
from the user; so `--guidance 3` means the same for every model. Benchmarks build their requests
themselves, and take no recommendation.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from patch_forcing.core.errors import UserError
from patch_forcing.generation.condition_check import given_conditions
from patch_forcing.generation.condition_kinds import condition_kind
from patch_forcing.generation.conditions import Conditions, NoConditions
from patch_forcing.generation.option_groups import GUIDANCE, SOLVER
from patch_forcing.generation.request import SampleRequest
from patch_forcing.models.config import Recommended
from patch_forcing.models.dit import PatchDiT

MAX_SHOWN = 16
"""Conditions that are shown where neither a user nor the model chooses."""


class Chosen(NamedTuple):
    """What is to be sampled, and how.

    from_model: what of it the model recommended, in a few words; empty if nothing.
    """

    conditions: Conditions
    request: SampleRequest
    from_model: str = ""


def choose(
    model: PatchDiT, name: str, conditions: Mapping[str, Any], options: Mapping[str, Any]
) -> Chosen:
    """What a user gave, and for the rest what the model recommends.

    name: what messages call the model. conditions: by their keywords, None where not given.
    options: fields of a SampleRequest, those alone that were given.
    Raises UserError for what the model does not know, and for options that do not fit together.
    """
    kind = condition_kind(model, name)
    advice = model.sampling_info.recommended
    value = given_conditions(kind.keyword, conditions)
    if value is not None:
        asked: Conditions = kind.choose(value)
    elif advice.conditions is not None:
        asked = kind.parse(advice.conditions).by_seed()
    else:
        asked = kind.evenly(len(kind.first(MAX_SHOWN))).by_seed()
    if isinstance(asked, NoConditions):
        advice = advice.without_guidance()
    defaults = _of_model(advice, options)
    try:
        request = SampleRequest(**defaults, **options)
    except UserError as error:
        if not defaults:
            raise
        raise UserError(f"{error} ({name} recommends {_in_words(defaults)})") from None
    classes = ""
    if value is None and advice.conditions is not None:
        classes = f"{len(asked)} {kind.keyword.removesuffix('s')}s"
    return Chosen(asked, request, ", ".join(filter(None, [classes, _in_words(defaults)])))


def _of_model(advice: Recommended, given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that the model chooses: those of groups of which nothing is given."""
    chosen: dict[str, Any] = {}
    for group in (SOLVER, GUIDANCE):
        if not given.keys() & set(group):
            fields = {name: getattr(advice, name, None) for name in group}
            chosen |= {name: value for name, value in fields.items() if value is not None}
    if chosen.get("guidance_scale") == 1:
        del chosen["guidance_scale"]
    return chosen


def _in_words(chosen: Mapping[str, Any]) -> str:
    """Such as: nfe 12, guidance 3 at t 0.1 … 0.8."""
    words = [f"{name} {chosen[name]}" for name in ("sampler", "nfe") if name in chosen]
    if "guidance_scale" in chosen:
        interval = chosen.get("guidance_interval")
        within = "" if interval is None else f" at t {interval[0]:g} … {interval[1]:g}"
        kind = f" ({chosen['guidance_kind']})" if "guidance_kind" in chosen else ""
        words.append(f"guidance {chosen['guidance_scale']:g}{kind}{within}")
    return ", ".join(words)
