"""Images as an .npz in ADM's form (`arr_0`, uint8, NHWC), written part by part.

What they were made of is kept as the archive's comment, which readers of arrays pass over.
"""

import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from patch_forcing.core.errors import UserError
from patch_forcing.io.atomic import atomic_file

LONGEST = 65_535
"""Bytes of a comment."""


def write_npz(
    path: Path, shape: tuple[int, ...], parts: Iterable[np.ndarray], about: dict[str, Any]
) -> None:
    """An array of uint8 that `parts` make up along its first axis; of them one at a time is held.

    The same bytes on every machine. Complete, or what was there before.
    """
    comment = json.dumps(about).encode()
    assert len(comment) <= LONGEST
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


def read_about(path: Path) -> dict[str, Any]:
    """What the images were made of. Raises UserError if it is not told."""
    try:
        with zipfile.ZipFile(path) as archive:
            about = json.loads(archive.comment)
        if isinstance(about, dict):
            return about
    except (OSError, ValueError, zipfile.BadZipFile, RecursionError):
        pass
    raise UserError(f"{path} is there and does not tell what it holds: name another file")
