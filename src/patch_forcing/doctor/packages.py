"""Packages: those that are always needed are imported, those of extras are looked for."""

import platform
import subprocess
import sys
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

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
    "evaluate": "features of EfficientNet for evaluate",
    "fp8": "--precision fp8",
    "hub": "the Hugging Face Hub: push, and models by OWNER/NAME",
    "inception": "features of Inception for evaluate: FID",
    "latents": "autoencoders of diffusers: encode, models of latents",
    "shards": "tar files behind URLs",
    "studio": "the page in the browser",
    "tensorboard": "train --track tensorboard",
    "test": "the tests",
    "text": "text encoders for prompts",
    "trackio": "train --track trackio",
    "wandb": "train --track wandb",
}
"""What each extra is good for."""
_MODULES = {
    "fonttools": "fontTools",
    "import-linter": "importlinter",
    "pillow": "PIL",
    "pytest-xdist": "xdist",
    "scikit-learn": "sklearn",
}
"""Modules that are not called like their package."""
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
    return [_looked_at(one, "", imports=True) for one in requirements().get("", [])]


def optional(*, imports: bool = False) -> list[Finding]:
    """Each extra: whether it is there, and how to get it. imports: import its packages, too."""
    findings = []
    for extra, packages in sorted(requirements().items()):
        if not extra:
            continue
        looks = [_looked_at(one, extra) for one in packages]
        there = [one.name for one in looks if one.value is not None]
        missing = [one.name for one in looks if one.value is None]
        problems = [one.problem for one in looks if one.problem]
        if imports and not problems and not missing:
            problems += failing_imports(packages)
        state = "there" if not missing else "in part" if there else "missing"
        text = f"{state:<8} {BRINGS.get(extra, ', '.join(one.name for one in packages))}"
        get = install_line(extra)
        value = {"state": state, "missing": missing, "brings": BRINGS.get(extra, ""), "get": get}
        hint = f"{', '.join(missing)}: {get}" if missing else ""
        findings.append(Finding(extra, text, value, "; ".join(problems), hint))
    return findings


def _module(package: str) -> str:
    return _MODULES.get(package, package.replace("-", "_"))


def _looked_at(wanted: Requirement, extra: str, *, imports: bool = False) -> Finding:
    """A package's version; no value where it is missing."""
    name, module = wanted.name, _module(wanted.name)
    mend = f"{install_line(extra)} -U" if extra else f"pip install -U '{wanted.text}'"
    try:
        known = version(name)
    except PackageNotFoundError:
        lacks = f"{name} is missing: {mend}" if not extra else ""
        return Finding(name, "missing", None, problem=lacks)
    if wanted.least and release(known) < wanted.least:
        return Finding(name, known, known, problem=f"{name} {known} is too old: {mend}")
    if find_spec(module) is None:
        gone = _broken(name, known, "its files are missing")
        return Finding(name, known, known, problem=gone)
    if imports and module not in _SLOW:
        try:
            import_module(module)
        except Exception as error:  # whatever a broken package raises
            return Finding(name, known, known, problem=_broken(name, known, error))
    return Finding(name, known, known)


def _broken(name: str, known: str, error: object) -> str:
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
            known = version(package.name)
            problems.append(_broken(package.name, known, "it takes more than a minute"))
            continue
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
            problems.append(_broken(package.name, version(package.name), last))
    return problems
