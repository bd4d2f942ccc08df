"""The kinds of conditions by name."""

from patch_forcing.core.registry import build
from patch_forcing.models.conditions import ClassCondition, Condition
from patch_forcing.models.text import ByteCondition, TextCondition

CONDITIONS: dict[str, type[Condition]] = {
    "class": ClassCondition,
    "text": TextCondition,
    "bytes": ByteCondition,
}
"""By the names that `PatchDiTConfig.condition` knows."""


def condition_kind(text: str) -> Condition:
    """The kind that NAME or NAME:option=value means. Raises UserError if there is none."""
    return build("condition", CONDITIONS, text)
