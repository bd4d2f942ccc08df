"""The kinds of conditions by name, and which one speaks for a model."""

from collections.abc import Mapping
from typing import Any

from patch_forcing.generation.class_conditions import Classes
from patch_forcing.generation.condition_check import given_conditions
from patch_forcing.generation.conditions import ConditionKind, Conditions, NoConditions
from patch_forcing.generation.text_conditions import TextPrompts
from patch_forcing.models.dit import PatchDiT

KINDS: dict[str, type[ConditionKind]] = {
    "class": Classes,
    "text": TextPrompts,
    "bytes": TextPrompts,
}
"""By the names that `PatchDiTConfig.condition` knows."""


def condition_kind(model: PatchDiT, name: str = "this model") -> ConditionKind:
    """The conditions that a model knows. name: what messages call the model."""
    return KINDS[model.config.condition.partition(":")[0]].of(model, name)


def condition_keywords() -> set[str]:
    """The arguments and options that give conditions, of all kinds."""
    return {kind.keyword for kind in KINDS.values()}


def choose_conditions(kind: ConditionKind, values: Mapping[str, Any]) -> Conditions:
    """Those that arguments give, by their keywords; without any, no conditions.

    Raises UserError for what the model does not know, or for conditions of another kind.
    """
    value = given_conditions(kind.keyword, values)
    return NoConditions() if value is None else kind.choose(value)
