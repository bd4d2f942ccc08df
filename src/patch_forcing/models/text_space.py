"""Which text encoder a model's conditions are embeddings of."""

from dataclasses import dataclass
from typing import Any

from patch_forcing.core.errors import UserError


@dataclass(frozen=True)
class TextSpace:
    """The identity of a text encoder; goes with models trained on its embeddings.

    encoder: where it was found: an offline one's name, a folder, a Hub id. name: what it calls
    itself, with a hash of its weights. bf16: whether it computed in bf16, else in fp32.
    """

    encoder: str
    name: str
    bf16: bool = False

    def __post_init__(self) -> None:
        for field in ("encoder", "name"):
            if not isinstance(getattr(self, field), str):
                raise UserError(f"TextSpace: {field}={getattr(self, field)!r}: give a text")


def text_space(stored: dict[str, Any]) -> TextSpace:
    """As JSON gives it back. Raises UserError or TypeError if it is none."""
    return TextSpace(**stored)
