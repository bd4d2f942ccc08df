"""Images of an array: in a file of ADM's form, or in memory."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.generation.numbers import parse_numbers
from patch_forcing.io.arrays import array_names, read_array
from patch_forcing.io.npz import read_about
from patch_forcing.scoring.images import Size, counted, sampled


class ArrayImages:
    """An array in ADM's form: arr_0 (N, H, W, 3) uint8, and maybe arr_1, labels (N,).

    Of one that `sample --npz` wrote, seeds and how they were sampled are known too.
    """

    seeds: tuple[int, ...] | None
    labels: tuple[str, ...] | None
    prompts: tuple[str, ...] | None = None

    def __init__(self, path: Path, count: int | None = None):
        """Raises UserError if the file is damaged, or holds no such images."""
        names, pixels = array_names(path), read_array(path, "arr_0")
        if pixels.dtype != np.uint8:
            mend = "NaN among them is no pixel" if _has_nan(pixels) else "save pixels 0 … 255"
            raise UserError(f"{path}: arr_0 holds {pixels.dtype}, not uint8: {mend}")
        if pixels.ndim != 4 or pixels.shape[3] != 3 or 0 in pixels.shape:
            grey = pixels.ndim == 3 or (pixels.ndim == 4 and pixels.shape[3] == 1)
            mend = "repeat grey in three channels" if grey else "save (N, H, W, 3)"
            raise UserError(f"{path}: arr_0 has the shape {pixels.shape}: {mend}")
        self.name, self._path = str(path), path
        self.count = counted(str(path), len(pixels), count)
        self._pixels, self.size = pixels, (pixels.shape[1], pixels.shape[2])
        self.seeds, self.labels, self._about = None, None, {}
        if "arr_1" in names:
            self.labels = _labels_of_array(path, len(pixels))[: self.count]
        if "arr_0" in names and (about := _about(path)):
            self._about = about
            self.seeds = _numbers(about.get("seeds"), len(pixels))
            numbers = _numbers(about.get("labels"), len(pixels))
            if self.labels is None and numbers is not None:
                self.labels = tuple(map(str, numbers))[: self.count]
            self.seeds = self.seeds and self.seeds[: self.count]

    def batch(self, places: slice) -> UInt8[Tensor, "B 3 H W"]:
        """These images."""
        part = self._pixels[: self.count][places]
        return torch.from_numpy(np.ascontiguousarray(part.transpose(0, 3, 1, 2)))

    def evaluations(self, places: slice) -> list[float] | None:
        """Their mean, as the file says it."""
        nfe = self._about.get("nfe")
        return None if nfe is None else [float(nfe)] * len(range(self.count)[places])

    def recipe(self) -> dict[str, Any]:
        """The file, and how the images were made if it says so."""
        about = {"kind": "array", "name": self.name}
        return about | (sampled(self._about) if self._about else {})

    @cached_property
    def _digest(self) -> str:
        with self._path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def plan(self) -> dict[str, Any]:
        """The file's checksum."""
        return {"array": self._digest, "count": self.count}


class TensorImages:
    """Images in memory, as samplers and benchmarks have them."""

    seeds: tuple[int, ...] | None = None
    prompts: tuple[str, ...] | None = None

    def __init__(
        self,
        pixels: Tensor,
        labels: Sequence[str] | None = None,
        name: str = "images in memory",
    ):
        """pixels: uint8 (N, 3, H, W). labels: one for each. Raises UserError for others."""
        if pixels.dtype != torch.uint8 or pixels.ndim != 4 or pixels.shape[1] != 3:
            raise UserError(
                f"{name}: {pixels.dtype} of shape {tuple(pixels.shape)}: give uint8, (N, 3, H, W)"
            )
        if labels is not None and len(labels) != len(pixels):
            raise UserError(f"{len(labels)} labels for {len(pixels)} images: give one for each")
        self.name, self.count, self._pixels = name, len(pixels), pixels
        self.size: Size = (pixels.shape[2], pixels.shape[3])
        self.labels = None if labels is None else tuple(labels)

    def batch(self, places: slice) -> UInt8[Tensor, "B 3 H W"]:
        """These images, on the CPU."""
        return self._pixels[places].cpu()

    def evaluations(self, places: slice) -> list[float] | None:
        """Not known."""
        return None

    def recipe(self) -> dict[str, Any]:
        """What they are called."""
        return {"kind": "memory", "name": self.name}

    def plan(self) -> dict[str, Any]:
        """A checksum of all."""
        digest = hashlib.sha256(self._pixels.cpu().contiguous().numpy().tobytes())
        return {"memory": digest.hexdigest(), "count": self.count}


def _has_nan(pixels: np.ndarray) -> bool:
    return pixels.dtype.kind == "f" and bool(np.isnan(pixels[:100]).any())


def _about(path: Path) -> dict[str, Any]:
    try:
        about = read_about(path)
    except UserError:
        return {}
    return about if "sampler" in about else {}


def _numbers(text: object, count: int) -> tuple[int, ...] | None:
    """What a plan says of seeds or labels, if it says all; one label serves all images."""
    try:
        numbers = tuple(parse_numbers("seeds", str(text)))
    except UserError:
        return None
    if len(numbers) == 1:
        return numbers * count
    return numbers if len(numbers) == count else None


def _labels_of_array(path: Path, count: int) -> tuple[str, ...]:
    labels = read_array(path, "arr_1")
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise UserError(
            f"{path}: arr_1 is {labels.dtype} {labels.shape}, no label for each of {count} images: "
            "save whole numbers, or leave it out"
        )
    return tuple(str(label) for label in labels.tolist())
