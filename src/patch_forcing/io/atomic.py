"""Files and folders that are complete or absent, and a folder's checksums."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from patch_forcing.core.errors import UserError

MANIFEST = "manifest.json"
_ASIDE = ".partial-"


@contextmanager
def atomic_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """A folder to write into, which gets its name only once all is on disk.

    Written aside, fsynced, renamed; if the block raises, nothing stays. With `replace`, an existing
    folder gives way (between two renames it is absent, never mixed); without, it is an error.
    """
    if path.exists() and not replace:
        raise UserError(f"{path} exists: name another folder or remove it")
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.parent / f"{_ASIDE}{path.name}-{uuid4().hex[:8]}"
    aside.mkdir()
    try:
        yield aside
        for file in [*aside.rglob("*"), aside]:
            _fsync(file)
        if path.exists():
            old = aside.with_name(aside.name + ".old")
            try:
                path.rename(old)
                aside.rename(path)
            except BaseException:
                if old.exists() and not path.exists():
                    old.rename(path)
                raise
            _fsync(path.parent)
            shutil.rmtree(old)
        else:
            aside.rename(path)
            _fsync(path.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_atomic(path: Path, text: str) -> None:
    """A text file, replaced whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{_ASIDE}{path.name}-{uuid4().hex[:8]}")
    try:
        aside.write_text(text, encoding="utf-8")
        _fsync(aside)
        aside.replace(path)
        _fsync(path.parent)
    finally:
        aside.unlink(missing_ok=True)


def remove_leftovers(parent: Path, name: str = "") -> None:
    """Delete what an interrupted write of `name`, or of anything, left aside."""
    for leftover in parent.glob(f"{_ASIDE}{name}*"):
        _remove(leftover)


def sha256(file: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_manifest(folder: Path) -> None:
    """Record size and SHA-256 of every file below `folder`, to be written last."""
    manifest = folder / MANIFEST
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file != manifest)
    rows = {
        file.relative_to(folder).as_posix(): {"bytes": file.stat().st_size, "sha256": sha256(file)}
        for file in files
    }
    manifest.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def broken_file(folder: Path) -> Path | None:
    """The first file that the manifest names and that is missing or altered, or None if all hold.

    A missing or unreadable manifest is itself the broken file.
    """
    manifest = folder / MANIFEST
    try:
        rows = json.loads(manifest.read_text(encoding="utf-8"))
        for name, row in rows.items():
            file = folder / name
            if not file.is_file() or file.stat().st_size != row["bytes"]:
                return file
            if sha256(file) != row["sha256"]:
                return file
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return manifest
    return None


def remove_folder(path: Path) -> None:
    """Delete a folder so that its name never stands for a part of it."""
    aside = path.with_name(f"{_ASIDE}{path.name}-{uuid4().hex[:8]}")
    path.rename(aside)
    _remove(aside)


def _remove(path: Path) -> None:
    """Of a link, the link alone."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _fsync(path: Path) -> None:
    if os.name == "nt":
        return  # Windows cannot open a folder for that
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
