"""Kinds of guidance as users write them: what the weak evaluation lacks. It needs no torch."""

from dataclasses import dataclass
from typing import Any

from patch_forcing.core.errors import UserError, check_range
from patch_forcing.core.registry import build

DEFAULT_KIND = "condition"
"""Away from the missing condition; or from a weaker model, where one is given."""


@dataclass(frozen=True)
class Condition:
    """The condition: classifier-free guidance."""


@dataclass(frozen=True)
class NoisierPatches:
    """Half of the patches, which are seen noisier, and the condition.

    ratio: s/t, their time s by their own time t; above 0, below 1. keep_condition: the weak
    evaluation has the condition too, so that images without one can be guided.
    """

    ratio: float = 0.8
    keep_condition: bool = False

    def __post_init__(self) -> None:
        check_range("guidance kind noisier: ratio", self.ratio, above=0, below=1)


KINDS: dict[str, type[Any]] = {DEFAULT_KIND: Condition, "noisier": NoisierPatches}
"""By name."""


def read_kind(
    text: str, scale: float | None, weak: object = None, compat: str | None = None
) -> Condition | NoisierPatches:
    """The kind of guidance that is written as NAME or NAME:option=value.

    scale: None or 1 is no guidance. weak: a weaker model to be guided away from. compat: whether
    published code is followed.
    Raises UserError if there is none of that name, or it does not go together with the rest.
    """
    kind: Condition | NoisierPatches = build("guidance kind", KINDS, text)
    if isinstance(kind, Condition):
        return kind
    if scale in (None, 1):
        raise UserError(f"guidance kind {text} without guidance: give a scale other than 1")
    if weak is not None:
        raise UserError(f"guidance kind {text} and autoguidance exclude each other: give one")
    if compat is not None:
        raise UserError(f"guidance kind {text} and compat exclude each other: give one of them")
    return kind
