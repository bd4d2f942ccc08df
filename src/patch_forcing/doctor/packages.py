"""Packages: those that are always needed are imported, those of extras are looked for."""

import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

from patch_forcing.core.extras import Requirement, install_line, release, requirements
from patch_forcing.doctor.finding import Finding
from patch_forcing.io.provenance import commit, versions

BRINGS = {
    "alignment": "vision encoders: --alignment, evaluate --features dinov2-b",
    "bench": "charts: plot, bench, evaluate --chart",
    "browser": "tests of the studio in a browser",
    "datasets": "train hub, Parquet and tables of captions",
    "dev": "linters and type checks",
    "diffusers": "models as pipelines of diffusers: patch_forcing.diffusers",
    "docs": "the site of the pages",
    "evaluate": "features of EfficientNet for evaluate",
    "fp8": "--precision fp8",
    "hub": "the Hugging Face Hub: push, and models by OWNER/NAME",
    "inception": "features of Inception for evaluate: FID",
    "latents": "autoencoders of diffusers: encode, models of latents",
    "notebooks": "the notebooks of the pages",
    "shards": "tar files behind URLs",
    "studio": "the page in the browser",
    "tensorboard": "train --track tensorboard",
    "test": "the tests",
    "text": "text encoders for prompts",
    "trackio": "train --track trackio",
    "wandb": "train --track wandb",
}
"""What each extra is good for."""
_SLOW = ("sklearn",)
"""Of what is always needed, what takes a second to import, and commands rarely need."""


def own_versions() -> list[Finding]:
    """Python's, and this package's."""
    own, made = versions()["patch-forcing"], commit()
    value = {"version": own, "commit": made}
    return [
        Finding("python", f"{platform.python_version()}, {sys.executable}"),
        Finding("patch-forcing", f"{own}, commit {made or 'unknown'}", value),
    ]


def needed() -> list[Finding]:
    """Each package that is always needed, imported."""
    return [_needed(one) for one in requirements().get("", [])]


def _needed(wanted: Requirement) -> Finding:
    name, known, mend = wanted.name, _version(wanted.name), f"pip install -U '{wanted.text}'"
    if known is None:
        return Finding(name, "missing", problem=f"{name} is missing: {mend}")
    if release(known) < wanted.least:
        return Finding(name, known, problem=f"{name} {known} is too old: {mend}")
    problem = _without_files(wanted)
    if not problem and _module(name) not in _SLOW:
        try:
            import_module(_module(name))
        except Exception as error:  # whatever a broken package raises
            problem = _broken(name, error)
    return Finding(name, known, problem=problem)


def optional(*, imports: bool = False) -> list[Finding]:
    """Each extra: whether it is there, and how to get it. imports: import its packages, too."""
    packages = requirements()
    return [_extra(name, packages[name], imports) for name in sorted(packages) if name]


def _extra(extra: str, packages: Sequence[Requirement], imports: bool) -> Finding:
    versions = {one: _version(one.name) for one in packages}
    missing = [one.name for one, known in versions.items() if known is None]
    old = [one.name for one, known in versions.items() if known and release(known) < one.least]
    present = [one for one in packages if one.name not in missing]
    problems = list(filter(None, map(_without_files, present)))
    if imports and not problems:
        problems = failing_imports(present)
    lacks = [*missing, *(f"{name} (too old)" for name in old)]
    state = "there" if not lacks else "in part" if len(lacks) < len(packages) else "missing"
    brings = BRINGS.get(extra, ", ".join(one.name for one in packages))
    get = install_line(extra) + (" -U" if old else "")
    value = {"state": state, "missing": lacks, "brings": brings, "get": get}
    hint = f"{', '.join(lacks)}: {get}" if lacks else ""
    return Finding(extra, f"{state:<8} {brings}", value, "; ".join(problems), hint)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _sources(name: str) -> list[tuple[Path, str]]:
    """A package's Python files, as pip keeps the list: folder and path; empty if it keeps none."""
    package = distribution(name)
    lines = (package.read_text("RECORD") or "").splitlines()
    paths = [line.partition(",")[0] for line in lines]
    return [(Path(str(package.locate_file(""))), path) for path in paths if path.endswith(".py")]


def _module(name: str) -> str:
    """What a package is imported as: Pillow is PIL."""
    usual, end = name.replace("-", "_"), "/__init__.py"
    tops = [path.removesuffix(end) for _, path in _sources(name) if path.endswith(end)]
    if usual in tops or not tops:
        return usual
    return min(tops, key=lambda path: path.count("/")).replace("/", ".")


def _without_files(package: Requirement) -> str:
    """What is wrong with a package whose files are gone; "" if nothing is."""
    sources = _sources(package.name)[:5]
    gone = sources and not any((folder / path).exists() for folder, path in sources)
    return _broken(package.name, "its files are missing") if gone else ""


def _broken(name: str, error: object) -> str:
    known = _version(name)
    reason = " ".join(str(error).split())[:200]
    return f"{name} {known} cannot be imported ({reason}): pip install --force-reinstall {name}"


def failing_imports(packages: Iterable[Requirement]) -> list[str]:
    """What fails of these packages, each imported in a process of its own."""
    problems = []
    for package in packages:
        command = [sys.executable, "-c", f"import {_module(package.name)}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        except subprocess.TimeoutExpired:
            problems.append(_broken(package.name, "it takes more than a minute"))
            continue
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
            problems.append(_broken(package.name, last))
    return problems
