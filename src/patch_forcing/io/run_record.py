"""What run.json says, and dataclasses made again of it."""

import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from patch_forcing.core.errors import UserError, unknown_name
from patch_forcing.io.run_layout import RUN

T = TypeVar("T")


def read_record(run: Path) -> dict[str, Any]:
    """What run.json says. Raises UserError if it is damaged."""
    try:
        record: dict[str, Any] = json.loads((run / RUN).read_text(encoding="utf-8"))
        for part in (record["recipe"], record.get("found", {}), record.get("init_from", {})):
            flat(part)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{run / RUN} is damaged: restore it, or choose another --out") from None
    return record


def flat(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Its values by dotted names."""
    whole: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, dict):
            whole |= flat(value, f"{prefix}{name}.")
        else:
            whole[prefix + name] = value
    return whole


def built(kind: type[T], values: dict[str, Any], run: Path) -> T:
    """A frozen dataclass of JSON's values. Raises UserError naming a field that is not known."""
    hints = get_type_hints(kind)
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    for name in values.keys() - known:
        raise unknown_name(f"field in {run / RUN}", name, known)
    try:
        return kind(**{name: _value(hints[name], value, run) for name, value in values.items()})
    except TypeError as error:
        raise UserError(f"{run / RUN} does not fit ({error}): restore it") from None


def _value(hint: Any, value: Any, run: Path) -> Any:
    if isinstance(hint, type) and is_dataclass(hint) and isinstance(value, dict):
        return built(hint, value, run)
    return tuple(value) if isinstance(value, list) else value
