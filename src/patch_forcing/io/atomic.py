"""Files and folders are complete or absent. A manifest holds the checksums of a folder."""

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
    """Gives a folder to write into, which gets its name only when all of it is on disk.

    It is written aside, flushed to disk and renamed. If the block raises, nothing stays. With
    `replace`, an existing folder gives way. It is absent between two renames, but never mixed.
    Raises UserError if the folder exists and `replace` is false.
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
def atomic_file(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Gives a file to write, which takes the place of `path` only when all of it is written.

    durable: and on disk, where a power cut leaves it; without, many files take less time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{_ASIDE}{path.name}-{uuid4().hex[:8]}")
    try:
        yield aside
        if durable:
            _fsync(aside)
        aside.replace(path)
        if durable:
            _fsync(path.parent)
    finally:
        aside.unlink(missing_ok=True)


def write_atomic(path: Path, text: str) -> None:
    """Writes a text file, or replaces it as a whole."""
    with atomic_file(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_once(path: Path, text: str) -> None:
    """Writes a text file unless it exists. Of several processes, the first one writes it."""
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
def locked(path: Path) -> Iterator[None]:
    """Lets one process at a time run the block, of those that share a file system.

    path: a file, made if it is not there, or a folder.
    The lock ends with the process that holds it. Where it cannot be locked, nobody waits.
    """
    if os.name == "nt":  # where there is no such lock
        yield
        return
    import fcntl

    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT, 0o666)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def is_aside(path: Path) -> bool:
    """Whether the path is being written, or its writing was interrupted."""
    return path.name.startswith(_ASIDE)


def remove_leftovers(parent: Path, name: str = "") -> None:
    """Deletes what interrupted writes left aside, of `name` or else of everything in `parent`."""
    for leftover in parent.glob(f"{_ASIDE}*"):
        if leftover.name.startswith(f"{_ASIDE}{name}"):
            _remove(leftover)


def sha256(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_manifest(folder: Path) -> None:
    """Records size and SHA-256 of every file below `folder`. The manifest is written last."""
    manifest = folder / MANIFEST
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file != manifest)
    rows = {
        file.relative_to(folder).as_posix(): {"bytes": file.stat().st_size, "sha256": sha256(file)}
        for file in files
    }
    manifest.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def broken_file(folder: Path) -> Path | None:
    """The first file of the manifest that is missing or altered, or None if there is none.

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
    """Deletes a folder. At no moment does its name stand for a part of it."""
    aside = path.with_name(f"{_ASIDE}{path.name}-{uuid4().hex[:8]}")
    path.rename(aside)
    _remove(aside)


def remove_shared(path: Path) -> None:
    """Deletes a folder and the rest of an interrupted deletion, while others may do the same.

    What cannot be deleted is left aside.
    """
    aside = path.with_name(f"{_ASIDE}{path.name}-{uuid4().hex[:8]}")
    with suppress(FileNotFoundError):
        path.rename(aside)
    for leftover in path.parent.glob(f"{_ASIDE}*"):
        if leftover.name.startswith(f"{_ASIDE}{path.name}-"):
            shutil.rmtree(leftover, ignore_errors=True)


def _remove(path: Path) -> None:
    """Deletes a file or folder. Of a link it deletes the link alone."""
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
