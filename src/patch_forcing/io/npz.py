"""Images are written part by part as an .npz in ADM's form (`arr_0`, uint8, NHWC).

The archive's comment records how they were made. Readers of arrays ignore it.
"""

import json
import math
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from patch_forcing.core.errors import UserError
from patch_forcing.io.atomic import atomic_file

MAX_COMMENT_BYTES = 65_535
"""The format of zip files has no room for more."""


def write_npz(
    path: Path, shape: tuple[int, ...], parts: Iterable[np.ndarray], about: dict[str, Any]
) -> None:
    """Writes the uint8 array that `parts` make up along its first axis. One part is held at a time.

    The bytes are the same on every machine. The file is complete, or it is what it was before.
    about: how the images were made, as JSON.
    """
    comment = json.dumps(about).encode()
    assert len(comment) <= MAX_COMMENT_BYTES
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    rows = 0
    with atomic_file(path) as aside, zipfile.ZipFile(aside, "w") as archive:
        archive.comment = comment
        with archive.open("arr_0.npy", "w", force_zip64=True) as stream:
            np.lib.format.write_array_header_1_0(stream, header)
            for part in parts:
                assert part.dtype == np.uint8
                assert part.shape[1:] == shape[1:]
                stream.write(np.ascontiguousarray(part).reshape(-1).data)
                rows += len(part)
        assert rows == shape[0]


def read_images(path: Path) -> Iterator[np.ndarray]:
    """The images of the array, (H, W, C) uint8, one by one. Raises UserError if it is damaged."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open("arr_0.npy") as stream:
            np.lib.format.read_magic(stream)
            (count, *shape), _, _ = np.lib.format.read_array_header_1_0(stream)
            for _ in range(count):
                yield np.frombuffer(stream.read(math.prod(shape)), np.uint8).reshape(shape)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is damaged ({error}): remove it, and start again") from None


def read_about(path: Path) -> dict[str, Any]:
    """The record of how the images were made. Raises UserError if the file has none."""
    try:
        with zipfile.ZipFile(path) as archive:
            about = json.loads(archive.comment)
        if isinstance(about, dict):
            return about
    except (OSError, ValueError, zipfile.BadZipFile, RecursionError):
        pass
    raise UserError(f"{path} is there and does not tell what it holds: name another file")
