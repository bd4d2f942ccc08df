"""How optional parts are installed, in a line that works here, and which packages they are."""

import json
import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from importlib.metadata import requires as installed_requires
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlparse

_NAME = "patch-forcing"
_CLONE = Path(__file__).parents[3]


def install_line(extra: str) -> str:
    """`pip install …` for an extra: from the folder that the package was installed from, if it was
    one; a clone is no package of that name on PyPI.
    """
    try:
        origin = json.loads(distribution(_NAME).read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        origin = {}
    url = urlparse(str(origin.get("url", "")))
    if url.scheme != "file":
        return f"pip install 'patch-forcing[{extra}]'"
    editable = "-e " if origin.get("dir_info", {}).get("editable") else ""
    return f"pip install {editable}'{unquote(url.path)}[{extra}]'"


class Requirement(NamedTuple):
    """A package, and the oldest release that will do: its numbers, empty if any will."""

    name: str
    least: tuple[int, ...]

    @property
    def text(self) -> str:
        """Such as: torch>=2.10."""
        return self.name + (f">={'.'.join(map(str, self.least))}" if self.least else "")


def requirements() -> dict[str, list[Requirement]]:
    """The packages that each extra brings; those of "" are always there.

    They are read from the clone that this is, or else from what was installed. Empty if neither
    says.
    """
    own = _clone_requirements()
    if own is None:
        try:
            lines = installed_requires(_NAME) or []
        except PackageNotFoundError:
            return {}
        own = {}
        for line in lines:
            text, _, marker = line.partition(";")
            extra = re.search(r"extra == ['\"]([\w.-]+)['\"]", marker)
            own.setdefault(extra[1] if extra else "", []).append(text)
    return {extra: list(map(_requirement, texts)) for extra, texts in own.items()}


def _clone_requirements() -> dict[str, list[str]] | None:
    try:
        project = tomllib.loads((_CLONE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    except (OSError, ValueError, KeyError):
        return None
    if project.get("name") != _NAME:
        return None
    return {"": project["dependencies"], **project["optional-dependencies"]}


def _requirement(text: str) -> Requirement:
    """Of a line such as fsspec[http]>=2024.6."""
    name = re.match(r"[\w.-]+", text.strip())
    least = re.search(r">=\s*([\d.]+)", text)
    return Requirement(name[0] if name else text, release(least[1]) if least else ())


def release(version: str) -> tuple[int, ...]:
    """The numbers of a version: 2.10.0+cpu is (2, 10, 0)."""
    numbers = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, numbers[0].split("."))) if numbers else ()
