"""Arrays of .npz files of any origin, of which nothing is ever run."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from patch_forcing.core.errors import UserError

_HEADER = 30
"""Bytes of a zip entry before its name and extra field."""


def array_names(path: Path) -> set[str]:
    """The arrays that the file holds. Raises UserError if it is no whole .npz file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy") for name in archive.namelist()}
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): name another file") from None
    except (zipfile.BadZipFile, ValueError):
        raise UserError(f"{path} is no .npz file, or truncated: copy it again") from None


def read_array(path: Path, name: str) -> np.ndarray:
    """One of the arrays; where its numbers lie as they are, they are read when they are used.

    Raises UserError if it is damaged, or holds Python objects, which only running it would read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entry = archive.getinfo(f"{name}.npy")
            with archive.open(entry) as stream:
                shape, fortran, dtype = _header(stream)
                offset = stream.tell()
            if dtype.hasobject:
                raise UserError(f"{path}: {name} holds Python objects, which are never read here")
            size = offset + dtype.itemsize * int(np.prod(shape, dtype=np.int64))
            if size != entry.file_size:
                raise UserError(
                    f"{path}: {name} has {entry.file_size} bytes, not {size}: copy it again"
                )
            if entry.compress_type != zipfile.ZIP_STORED:
                with archive.open(entry) as stream:
                    return np.lib.format.read_array(stream, allow_pickle=False)
        start = _start(path, entry) + offset
        flat = np.memmap(path, dtype, mode="r", offset=start, shape=(int(np.prod(shape)),))
        return flat.reshape(shape, order="F" if fortran else "C")
    except KeyError:
        raise UserError(f"{path} holds no {name}: name another file") from None
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        if isinstance(error, UserError):
            raise
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{path}: {name} is damaged ({reason}): copy it again") from None


def _header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(stream)
    raise ValueError(f"version {version} of the format")


def _start(path: Path, entry: zipfile.ZipInfo) -> int:
    """Where the entry's data begin."""
    with path.open("rb") as stream:
        stream.seek(entry.header_offset)
        local = stream.read(_HEADER)
    name, extra = (int.from_bytes(local[at : at + 2], "little") for at in (26, 28))
    return entry.header_offset + _HEADER + name + extra
