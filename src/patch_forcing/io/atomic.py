"""Files and folders that are complete or absent, and a folder's checksums."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A file to write, which gets its name, in place of what had it, only once all is on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{_ASIDE}{path.name}-{uuid4().hex[:8]}")
    try:
        yield aside
        _fsync(aside)
        aside.replace(path)
        _fsync(path.parent)
    finally:
        aside.unlink(missing_ok=True)


def write_atomic(path: Path, text: str) -> None:
    """A text file, replaced whole."""
    with atomic_file(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_once(path: Path, text: str) -> None:
    """A text file, whole, unless it is there: of several that write it, the first one does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{_ASIDE}{path.name}-{uuid4().hex[:8]}")
    try:
        aside.write_text(text, encoding="utf-8")
        _fsync(aside)
        try:
            os.link(aside, path)
        except FileExistsError:
            return
        except OSError:  # a file system without links
            if not path.exists():
                aside.replace(path)
        _fsync(path.parent)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """One process at a time, of those that share a file system; others wait.

    Ends with the process that holds it. Where files cannot be locked, nobody waits.
    """
    with file.open("a") as stream:
        with suppress(OSError, ImportError):
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def is_aside(path: Path) -> bool:
    """Whether it is something that is being written, or whose writing was interrupted."""
    return path.name.startswith(_ASIDE)


def remove_leftovers(parent: Path, name: str = "") -> None:
    """Delete what an interrupted write of `name`, or of anything, left aside."""
    for leftover in parent.glob(f"{_ASIDE}*"):
        if leftover.name.startswith(f"{_ASIDE}{name}"):
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


def remove_shared(path: Path) -> None:
    """Delete a folder, and what is left of an interrupted deletion, while others do so too.

    What cannot be deleted is left aside.
    """
    aside = path.with_name(f"{_ASIDE}{path.name}-{uuid4().hex[:8]}")
    with suppress(FileNotFoundError):
        path.rename(aside)
    for leftover in path.parent.glob(f"{_ASIDE}*"):
        if leftover.name.startswith(f"{_ASIDE}{path.name}-"):
            shutil.rmtree(leftover, ignore_errors=True)


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
