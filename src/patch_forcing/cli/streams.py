"""Standard output and error as work needs them: it goes on where nobody reads what it prints.

A service, a scheduler or `2>&-` starts a program without them, and `| head -1` ends one early.
"""

import errno
import io
import os
import sys
from pathlib import Path
from typing import Any, TextIO

_GONE = {errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO, errno.ESHUTDOWN}
"""Errors of a pipe without a reader, and of a terminal that was closed."""


def keep_streams() -> None:
    """From now on both are there, write any text, and do not stop the program.

    Except that a full disk, to which standard output goes, is an error.

    Streams that somebody put in place of the process's own are left as they are.
    """
    _open_lowest()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        own = getattr(sys, f"__{name}__")
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif stream is own and isinstance(stream, io.TextIOWrapper):
            stream.flush()
            setattr(sys, name, _lasting(stream))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _open_lowest() -> None:
    """Descriptors 0 to 2 are open: or the next file, a checkpoint, would get what others print."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            handle = os.open(os.devnull, os.O_RDWR)
            if handle != number:
                os.dup2(handle, number)
                os.close(handle)


class _LastingFile(io.FileIO):
    """A file that swallows what it gets once nobody reads it, and of an error stream all else."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            if error.errno not in _GONE and self.fileno() != 2:
                raise  # once: what is still to be written at the end is not the mistake
        return memoryview(data).nbytes


def _lasting(stream: io.TextIOWrapper) -> TextIO:
    """The same stream, which lasts. A file name may hold bytes that are no text."""
    raw = _LastingFile(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
