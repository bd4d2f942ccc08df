"""Features of a data set's pictures, made once and mapped into memory.

    features.json    of what, by what: data, encoder, grid of patches
    features.npy     (pictures, N, F) fp16: unit vectors, NaN of pictures that cannot be read

An image and its mirror image are two pictures: features of one are not those of the other mirrored.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float16, Int64
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.io.atomic import atomic_folder

FORMAT_VERSION = 1
KEY, FEATURES = "features.json", "features.npy"


@dataclass(frozen=True)
class FeatureKey:
    """What must agree between a cache and those who read it."""

    data: str
    encoder: str
    pictures: int
    rows: int
    columns: int
    width: int
    format_version: int = FORMAT_VERSION

    @property
    def shape(self) -> tuple[int, int, int]:
        """Pictures, N, F."""
        return self.pictures, self.rows * self.columns, self.width


def write_features(
    folder: Path, key: FeatureKey, parts: Iterable[Float16[np.ndarray, "M N F"]]
) -> None:
    """Write a cache, complete or not at all; parts: features of all pictures, in order."""
    with atomic_folder(folder) as aside:
        mapped = np.lib.format.open_memmap(aside / FEATURES, "w+", np.float16, key.shape)
        done = 0
        for part in parts:
            mapped[done : done + len(part)] = part
            done += len(part)
        assert done == key.pictures
        mapped.flush()
        (aside / KEY).write_text(json.dumps(asdict(key), indent=1) + "\n", encoding="utf-8")


class FeatureCache:
    """A cache, mapped. Raises UserError naming what differs from `key`, or is not as it should."""

    def __init__(self, folder: Path, key: FeatureKey):
        file = folder / KEY
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
            theirs = {name: record.get(name) for name in asdict(key)}
        except (OSError, ValueError, AttributeError, RecursionError):
            raise UserError(
                f"{file} is missing or damaged: remove {folder}, which is then made again, or name "
                "another --alignment.cache"
            ) from None
        for name, ours in asdict(key).items():
            if theirs[name] != ours:
                raise UserError(
                    f"{folder} was made for {name} {theirs[name]!r}, this run has {ours!r}: name "
                    "another --alignment.cache, or remove this one"
                )
        try:
            self._rows = np.load(folder / FEATURES, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UserError(
                f"{folder / FEATURES} cannot be read ({error}): remove {folder}, which is then "
                "made again"
            ) from None
        if self._rows.shape != key.shape or self._rows.dtype != np.float16:
            raise UserError(
                f"{folder / FEATURES} holds {self._rows.dtype} of {self._rows.shape}, not fp16 of "
                f"{key.shape}: remove {folder}, which is then made again"
            )

    def __call__(self, numbers: Int64[Tensor, " B"]) -> Float[Tensor, "B N F"]:
        """Features of these pictures, fp16."""
        return torch.from_numpy(self._rows[numbers.numpy()])
