"""Named choices with options, written as text: `name` or `name:option=value,option=value`.

Timestep distributions in recipes and samplers on the command line share this syntax. It is
readable in JSON, and nothing is imported by name.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar, get_args, get_origin

from patch_forcing.core.errors import UserError, unknown_name

T = TypeVar("T")


def build(kind: str, registry: Mapping[str, type[T]], spec: str) -> T:
    """Builds the registered frozen dataclass that `spec` names, with its options set.

    kind: what the registry holds, as messages call it. Raises UserError that names the nearest
    known name or option, or the option whose value does not fit.
    """
    name, _, options = spec.partition(":")
    if name not in registry:
        raise unknown_name(kind, name, registry)
    chosen: Any = registry[name]
    fields = {field.name: field for field in dataclasses.fields(chosen)}
    values = {}
    for option in filter(None, options.split(",")):
        key, equals, text = option.partition("=")
        key = key.strip().replace("-", "_")
        if key not in fields:
            raise unknown_name(f"option of {kind} {name}", key, fields)
        if not equals:
            raise UserError(f"{kind} {name}: option {key!r} has no value: write {key}=VALUE")
        if key in values:
            raise UserError(f"{kind} {name}: option {key!r} is given twice: give it once")
        values[key] = _parse(f"{kind} {name}: {key}", text.strip(), fields[key].type)
    for key, field in fields.items():
        if key not in values and field.default is field.default_factory is dataclasses.MISSING:
            raise UserError(f"{kind} {name}: option {key!r} is missing: write {key}=VALUE")
    return chosen(**values)


def _parse(place: str, text: str, kind: Any) -> Any:
    """Reads a number, a switch, a word, several of one type, or None where allowed."""
    if get_origin(kind) is tuple:  # 1/2/4
        return tuple(_parse(place, part, get_args(kind)[0]) for part in text.split("/"))
    if kind is str:
        return text  # what the class does not know, it refuses itself
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        if kind == int | None and text.lower() == "none":
            return None
        return int(text) if kind in (int, int | None) else float(text)
    except (KeyError, ValueError):
        wanted = getattr(kind, "__name__", str(kind))
        raise UserError(f"{place}={text!r} does not fit: give one {wanted}") from None
