"""What stands between the two lines of --- of a card: YAML, written without a library for it.

So a card can be made, and looked at, where huggingface_hub is not installed.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

_HIDDEN = re.compile(r"[\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff\ufffe\uffff]")
"""Characters that YAML takes as escapes alone."""


def front_matter(values: Mapping[str, Any]) -> str:
    """Texts, numbers, lists and mappings of these as a block of YAML, none of them empty.

    What is None in a mapping is left out.
    """
    return "\n".join(_lines(values))


def _lines(value: Any) -> Iterator[str]:
    """The lines of a list or a mapping."""
    is_list = isinstance(value, list | tuple)
    pairs = (("-", one) for one in value) if is_list else ((f"{k}:", v) for k, v in value.items())
    for mark, inner in pairs:
        if inner is None and not is_list:
            continue
        if not isinstance(inner, list | tuple | Mapping):
            yield f"{mark} {_scalar(inner)}"
            continue
        lines = _lines(inner)
        yield f"- {next(lines)}" if is_list else mark
        yield from (f"  {line}" for line in lines)


def _scalar(value: str | float | None) -> str:
    if value is None:
        return "null"
    if not isinstance(value, str):
        if math.isfinite(value):
            text = repr(value)
            return text if "e" not in text or "." in text else text.replace("e", ".0e")
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    if re.fullmatch(r"[a-z][a-z0-9_]*([-.:][a-z0-9_]+)+", value):  # no word that means something
        return value
    return _HIDDEN.sub(lambda one: f"\\u{ord(one[0]):04x}", json.dumps(value, ensure_ascii=False))
