"""The reference of the public names: which page has which, and that each has a docstring."""

import inspect
from collections.abc import Iterator
from typing import Any

import patch_forcing as pf
from patch_forcing import api
from patch_forcing.core.errors import UserError
from patch_forcing.core.timesteps import TIMESTEPS
from patch_forcing.sampling.samplers import SAMPLERS

GROUPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "sampling": (
        "Sampling",
        (
            *("load", "Pipeline", "PipelineResult", "VelocityField", "FunctionField"),
            *("ClassifierFreeGuidance", "NoisierGuidance", "Autoguidance"),
            *("CountedGenerator", "UserError"),
        ),
    ),
    "samplers": ("Samplers", ("samplers",)),
    "training": (
        "Training",
        (
            *("train", "DatasetData", "PatchForcingObjective", "LossTerms", "LinearPath"),
            "reconstruct_ema",
        ),
    ),
    "timesteps": ("Training times", ("timesteps",)),
    "network": (
        "Network",
        (
            *("PatchDiT", "PatchDiTConfig", "DataInfo", "preset", "load_model", "ModelOutput"),
            *("PatchTime", "spread", "difficulty"),
        ),
    ),
    "evaluating": ("Evaluating", ("evaluate", "Evaluation")),
}
"""The pages: title, and the names of `patch_forcing.__all__` on each."""
REGISTRIES: dict[str, dict[str, type]] = {"samplers": SAMPLERS, "timesteps": TIMESTEPS}
"""Modules among the public names, and what their names on the command line stand for."""


def name_pages() -> dict[str, str]:
    """The pages of the reference. Raises UserError if a name has no page or no docstring."""
    problems = [*unplaced(), *undocumented()]
    if problems:
        raise UserError("; ".join(problems))
    return {page: _page(*GROUPS[page]) for page in GROUPS}


def unplaced() -> Iterator[str]:
    """Public names that no page has, and names of pages that are not public."""
    placed = {name for _, names in GROUPS.values() for name in names}
    for name in sorted(placed ^ set(api.__all__)):
        yield f"{name} is public or in docs/website/names.py, not both"


def undocumented() -> Iterator[str]:
    """Public names, and public parts of public classes, without a docstring."""
    for name in api.__all__:
        public = getattr(pf, name)
        members = {name: public}
        members |= {kind.__name__: kind for kind in REGISTRIES.get(name, {}).values()}
        for path, member in members.items():
            if not inspect.getdoc(member):
                yield f"{path} has no docstring"
            if inspect.isclass(member):
                yield from (f"{path}.{part} has no docstring" for part in _silent_parts(member))


def _silent_parts(kind: type) -> Iterator[str]:
    """The methods and properties of a class, its own and those of ours it inherits, without one."""
    for name in dir(kind):
        part: Any = inspect.getattr_static(kind, name)
        ours = any(name in vars(base) for base in kind.__mro__ if _is_ours(base))
        callable_part = isinstance(part, property | staticmethod | classmethod) or callable(part)
        if name[0] != "_" and ours and callable_part and not inspect.getdoc(getattr(kind, name)):
            yield name


def _is_ours(kind: type) -> bool:
    return kind.__module__.startswith("patch_forcing.")


def _page(title: str, names: tuple[str, ...]) -> str:
    """One page, filled in by mkdocstrings where it has three colons."""
    parts = [f"# {title}"]
    for name in names:
        public = getattr(pf, name)
        if name not in REGISTRIES:
            parts.append(f"::: {public.__module__}.{public.__qualname__}")
            continue
        known = REGISTRIES[name]
        rows = [f"| `{short}` | `pf.{name}.{kind.__name__}` |" for short, kind in known.items()]
        parts.append("\n".join(["| on the command line | from Python |", "| --- | --- |", *rows]))
        parts += [f"::: {kind.__module__}.{kind.__qualname__}" for kind in known.values()]
    return "\n\n".join(parts) + "\n"
