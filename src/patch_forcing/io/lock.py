"""One process at a time works in a folder, and others are told who does; or those of one job."""

import errno
import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

_LOG = logging.getLogger("patch_forcing")


class HeldError(Exception):
    """Another process holds the lock. Its text says which, where and since when."""


@contextmanager
def exclusive(file: Path) -> Iterator[None]:
    """Holds the lock `file` for the block; the file is removed after it.

    The system frees the lock when its process ends, however that happens: a file that is left
    behind locks nothing. Where files cannot be locked, that is a warning. Raises HeldError.
    """
    handle = _locked(file)
    try:
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now().astimezone().isoformat(" ", "seconds"),
        }
        file.write_text(json.dumps(holder), encoding="utf-8")
        yield
    finally:
        with suppress(OSError):  # the folder may be gone
            file.unlink(missing_ok=True)
        os.close(handle)


@contextmanager
def in_use(file: Path) -> Iterator[None]:
    """Marks a file for the block, which any number of processes may do. Where files cannot be
    locked, there is no mark.
    """
    handle = os.open(file, os.O_RDONLY)
    try:
        with suppress(OSError, ImportError):
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)


def is_in_use(file: Path) -> bool:
    """Whether a process marks the file; not if there is none."""
    with suppress(OSError, ImportError), file.open("r+b") as stream:
        import fcntl

        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _locked(file: Path) -> int:
    """A handle of the file that holds its lock."""
    while True:
        # nothing is kept open for writing, so that a disk can still be made read-only
        handle = os.open(file, os.O_RDONLY | os.O_CREAT, 0o666)
        try:
            _lock(handle, file)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), file.stat()):
                    return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # of a file that its last holder removed meanwhile


def _lock(handle: int, file: Path) -> None:
    """Locks it, if it can be."""
    try:
        import fcntl

        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            writable = os.open(file, os.O_RDWR)  # as NFS demands
            os.dup2(writable, handle, inheritable=False)
            os.close(writable)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise HeldError(_holder(file)) from None
    except (OSError, ImportError) as error:
        _LOG.warning("%s cannot be locked (%s): see that no other process works there", file, error)


def _holder(file: Path) -> str:
    """Who holds the lock, in words."""
    try:
        holder = json.loads(file.read_text(encoding="utf-8"))
        return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "another process"  # which has just begun, or ended
