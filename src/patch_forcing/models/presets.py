"""Sizes of networks by name."""

from typing import Any

from patch_forcing.core.errors import unknown_name
from patch_forcing.models.config import PatchDiTConfig

_WIDTHS: dict[str, dict[str, int]] = {
    "S": {"depth": 12, "hidden_size": 384, "num_heads": 6},
    "B": {"depth": 12, "hidden_size": 768, "num_heads": 12},
    "L": {"depth": 24, "hidden_size": 1024, "num_heads": 16},
    "XL": {"depth": 28, "hidden_size": 1152, "num_heads": 16},
}
_TEXT: dict[str, dict[str, int]] = {
    "text-20m": {"depth": 10, "hidden_size": 320, "num_heads": 5, "condition_size": 192},
    "text-100m": {"depth": 12, "hidden_size": 640, "num_heads": 10, "condition_size": 256},
    "text-400m": {"depth": 20, "hidden_size": 1024, "num_heads": 16, "condition_size": 256},
    "text-1.2b": {"depth": 28, "hidden_size": 1536, "num_heads": 16, "condition_size": 384},
}


def is_preset(name: str) -> bool:
    """Whether it is the name of a size, as `preset` takes it, rather than of a model."""
    return name.partition("/")[0] in (*_WIDTHS, *_TEXT)


def preset(name: str, **sizes: Any) -> PatchDiTConfig:
    """The field's sizes: "S/2", "B/2", "L/2", "XL/2"; the number is the patch side.

    Of text to image: "text-20m/2", "text-100m/2", "text-400m/2", "text-1.2b/2"; the last is the
    paper's. Positions are rotary, and the condition "bytes", unless `condition` is given, such as
    "text:width=2048,length=256".
    sizes: the other fields of PatchDiTConfig; `input_size` is 32 (ImageNet-256 latents) by default.
    """
    width, _, patch = name.partition("/")
    if width not in (*_WIDTHS, *_TEXT) or not patch.isdecimal():
        known = [f"{size}/2" for size in (*_WIDTHS, *_TEXT)]
        raise unknown_name("model size", name, known)
    chosen: dict[str, Any] = {"input_size": 32, "patch_size": int(patch)}
    if width in _TEXT:
        chosen |= {"num_classes": 0, "condition": "bytes", "position": "rope", **_TEXT[width]}
    else:
        chosen |= _WIDTHS[width]
    return PatchDiTConfig(**{**chosen, **sizes})
