"""All that is looked at, in sections; what fails to be looked at is broken itself."""

from collections.abc import Callable, Mapping
from typing import Any

from patch_forcing.doctor.devices import devices, memory
from patch_forcing.doctor.finding import Finding
from patch_forcing.doctor.packages import needed, optional, own_versions
from patch_forcing.doctor.places import compiler, disks, home, streams

Sections = Mapping[str, list[Finding]]


def examine(*, imports: bool = False) -> Sections:
    """Findings by section. imports: also import the packages of extras, which takes longer."""
    parts: dict[str, Callable[[], list[Finding]]] = {
        "versions": lambda: [*own_versions(), *needed()],
        "devices": lambda: [*devices(), *memory()],
        "places": lambda: [*disks(), home()],
        "tools": lambda: [compiler(), streams()],
        "optional parts": lambda: optional(imports=imports),
    }
    return {name: _looked_at(name, part) for name, part in parts.items()}


def _looked_at(name: str, part: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return part()
    except Exception as error:  # of a broken torch, say: the rest is looked at all the same
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        return [Finding(name, "cannot be looked at", problem=f"{name}: {reason}: mend that first")]


def problems(sections: Sections) -> list[str]:
    """What is broken, and what to do."""
    return [one.problem for section in sections.values() for one in section if one.problem]


def report(sections: Sections) -> dict[str, Any]:
    """All of it, for programs."""
    wrong = problems(sections)
    rows = {name: {one.name: one.row for one in section} for name, section in sections.items()}
    return {"status": "broken" if wrong else "ok", "problems": wrong, **rows}
