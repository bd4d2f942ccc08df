"""Places and tools: disks, caches, the home folder, a compiler, what standard output can write."""

import os
import shutil
import sys
import sysconfig
import time
from importlib.util import find_spec
from pathlib import Path

from patch_forcing.data.cache import CACHE, cache_folder
from patch_forcing.doctor.finding import Finding, size

COUNTING = 1.0
"""Seconds after which the files of a cache are counted no further."""
_LOW = 2e9
"""Bytes of disk below which a training soon stops."""


def disks() -> list[Finding]:
    """The working folder, and the caches with their sizes."""
    here = Path.cwd()
    usage = shutil.disk_usage(here)
    hint = ""
    if not os.access(here, os.W_OK):
        hint = f"{here} cannot be written to: give --out another folder"
    elif usage.free < _LOW:
        hint = f"only {size(usage.free)} are free in {here}: make room, or give --out another disk"
    text = f"{here}, {size(usage.free)} of {size(usage.total)} free"
    value = {"folder": str(here), "free": usage.free, "total": usage.total}
    folder = [Finding("working folder", text, value, hint=hint)]
    return [*folder, _cache("own cache", cache_folder()), _cache("Hub cache", _hub_cache())]


def _hub_cache() -> Path | None:
    """Where huggingface_hub keeps downloads; None without it."""
    if find_spec("huggingface_hub") is None:
        return None
    try:
        from huggingface_hub import constants
    except Exception:  # a broken package is named elsewhere
        return None
    return Path(constants.HF_HUB_CACHE)


def _cache(name: str, folder: Path | None) -> Finding:
    if folder is None:
        return Finding(name, "none")
    count, whole = folder_size(folder)
    text = f"{folder}, {'' if whole else 'at least '}{size(count)}"
    value = {"folder": str(folder), "bytes": count, "counted": whole}
    place = next(place for place in (folder, *folder.parents) if place.exists())
    hint = "" if os.access(place, os.W_OK) else f"{place} cannot be written to: nothing is kept"
    return Finding(name, text, value, hint=hint)


def folder_size(folder: Path) -> tuple[int, bool]:
    """Bytes of the files in a folder, links left out, and whether all of them were counted."""
    total, end = 0, time.monotonic() + COUNTING
    for parent, _, names in os.walk(folder):
        if time.monotonic() > end:
            return total, False
        for name in names:
            file = Path(parent, name)
            if not file.is_symlink() and file.exists():
                total += file.stat().st_size
    return total, True


def home() -> Finding:
    """The user's home, where caches lie."""
    try:
        folder = Path.home()
    except RuntimeError:
        folder = None
    mend = f"set HOME, or {CACHE} and HF_HOME"
    if folder is None or not folder.is_dir():
        text = "none" if folder is None else f"{folder}, which is not there"
        return Finding("home", text, hint=f"this user has no home, so no cache is kept: {mend}")
    hint = "" if os.environ.get("HOME") or os.name == "nt" else f"HOME is not set: {mend}"
    return Finding("home", str(folder), hint=hint)


def compiler() -> Finding:
    """What --compile needs on a CPU, and Triton on a GPU: a C++ compiler and Python's headers."""
    names = filter(None, [os.environ.get("CXX"), "g++", "clang++", "cl"])
    program = next((path for path in map(shutil.which, names) if path), None)
    headers = Path(sysconfig.get_paths()["include"], "Python.h").is_file()
    lacks = [] if program else ["g++"]
    lacks += [] if headers else ["python3-dev"]
    hint = f"--compile does not work: install {' and '.join(lacks)} (apt install)" if lacks else ""
    value = {"compiler": program, "headers": headers}
    text = f"{program or 'none'}, Python's headers {'there' if headers else 'missing'}"
    return Finding("compiler", text, value, hint=hint)


def streams() -> Finding:
    """What standard output and error, and names of files, can write."""
    names = {
        "stdout": getattr(sys.stdout, "encoding", None) or "unknown",
        "stderr": getattr(sys.stderr, "encoding", None) or "unknown",
        "file names": sys.getfilesystemencoding(),
    }
    poor = [name for name, encoding in names.items() if "utf" not in encoding.lower()]
    hint = ""
    if poor:
        hint = f"{', '.join(poor)} write other letters as escapes: set PYTHONUTF8=1"
    return Finding("encodings", ", ".join(f"{k} {v}" for k, v in names.items()), names, hint=hint)
