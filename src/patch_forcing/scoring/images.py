"""Sets of images to be measured: a folder's, an array's. A model's are in `model_images.py`."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.data.folder_layout import find_images
from patch_forcing.data.images import BadImageError, read_plain
from patch_forcing.data.layout import Layout
from patch_forcing.generation.numbers import parse_numbers, write_numbers
from patch_forcing.generation.sample_folder import SampleFolder
from patch_forcing.io.arrays import array_names, read_array
from patch_forcing.io.npz import read_about
from patch_forcing.io.sample_layout import holds_own_samples

Size = tuple[int, int]
"""Height and width."""
FITTED = "centre crop, halved by boxes, then bicubic (ADM)"
SAMPLING = (
    "sampler", "grid", "guidance", "guidance_interval", "guidance_schedule", "weak_model_hash",
    "compat",
)  # fmt: skip
"""What a record says of how images were sampled, besides what it took."""


@runtime_checkable
class ImageSet(Protocol):
    """Images by number, in an order that depends on nothing else.

    labels: the name of each image's class, or its number where classes have no names; None: no
    classes. seeds: of images that were sampled; None: not known.
    """

    @property
    def name(self) -> str:
        """What the user calls them."""

    @property
    def count(self) -> int:
        """How many there are."""

    @property
    def size(self) -> Size:
        """Of every image."""

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The class of each."""

    @property
    def seeds(self) -> tuple[int, ...] | None:
        """The seed of each."""

    def batch(self, places: slice) -> UInt8[Tensor, "B 3 H W"]:
        """These images. Raises UserError if one is bad."""

    def evaluations(self, places: slice) -> list[float] | None:
        """Network evaluations of each, if they are known once `batch` was called."""

    def recipe(self) -> dict[str, Any]:
        """What a record says of them: kind, name, and how they were made."""

    def plan(self) -> dict[str, Any]:
        """All that the images depend on."""


class FolderImages:
    """A folder of images, or of samples with their samples.json.

    size: what images are fitted to; None: all have that of the first one.
    """

    def __init__(self, path: Path, size: Size | None = None, count: int | None = None):
        """count: take the first so many. Raises UserError if there are fewer, or none."""
        rows = SampleFolder(path).rows() if holds_own_samples(path) else []
        layout = find_images(path)
        if rows:
            layout, rows = _in_seed_order(layout, rows)
        if layout.faults:
            number = min(layout.faults)
            raise UserError(f"{layout.place(number)}: {layout.faults[number]}: mend or remove it")
        self.name, self.count = str(path), _counted(str(path), len(layout.names), count)
        self._layout = layout.part(range(self.count))
        self._rows, self._fitted, self._resized = rows[: self.count], size is not None, False
        self._grey = 0
        self.seeds = tuple(row["seed"] for row in self._rows) or None
        self.labels = _labels_of_rows(self._rows) if rows else _labels_of_layout(self._layout)
        self.size = size or self._size_of_first()

    def _size_of_first(self) -> Size:
        pixels = self._read(0, None)
        return pixels.shape[1], pixels.shape[2]

    def _read(self, number: int, size: Size | None) -> UInt8[np.ndarray, "3 H W"]:
        try:
            pixels, grey = read_plain(self._layout.file(number), size)
        except BadImageError as error:
            place = self._layout.place(number)
            raise UserError(f"{place} is bad ({error}): mend or remove it") from None
        self._grey += grey
        return pixels

    def batch(self, places: slice) -> UInt8[Tensor, "B 3 H W"]:
        """These images. Raises UserError if one is bad, has another size, or all are grey."""
        numbers, self._grey = range(self.count)[places], 0
        pixels = [self._read(number, self.size if self._fitted else None) for number in numbers]
        for number, image in zip(numbers, pixels, strict=True):
            if image.shape[1:] != self.size:
                raise UserError(
                    f"{self._layout.place(number)} has {image.shape[2]}×{image.shape[1]} pixels, "
                    f"others of {self.name} {self.size[1]}×{self.size[0]}: bring them to one size"
                )
        if self._grey == len(numbers) > 1:
            raise UserError(
                f"{self.name} holds grey images: feature networks see colour, so save them in RGB"
            )
        return torch.from_numpy(np.stack(pixels))

    def evaluations(self, places: slice) -> list[float] | None:
        """As samples.json has them."""
        nfe = [row.get("nfe") for row in self._rows[places]]
        return [float(value) for value in nfe if value is not None] or None

    def recipe(self) -> dict[str, Any]:
        """The folder; of samples, how they were made."""
        about: dict[str, Any] = {"kind": "folder", "name": self.name}
        if self._rows:
            about |= {"model": self._rows[0].get("model"), **_sampled(self._rows[0])}
        return about

    def plan(self) -> dict[str, Any]:
        """Names, some contents, and the size."""
        names = self._layout.identity + self._layout.contents
        return {"folder": names, "count": self.count, "size": list(self.size)}


class ArrayImages:
    """An array in ADM's form: arr_0 (N, H, W, 3) uint8, and maybe arr_1, labels (N,).

    Of one that `sample --npz` wrote, seeds and how they were sampled are known too.
    """

    seeds: tuple[int, ...] | None
    labels: tuple[str, ...] | None

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
        self.count = _counted(str(path), len(pixels), count)
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
        return about | (_sampled(self._about) if self._about else {})

    @cached_property
    def _digest(self) -> str:
        with self._path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def plan(self) -> dict[str, Any]:
        """The file's checksum."""
        return {"array": self._digest, "count": self.count}


def _has_nan(pixels: np.ndarray) -> bool:
    return pixels.dtype.kind == "f" and bool(np.isnan(pixels[:100]).any())


def _sampled(row: dict[str, Any]) -> dict[str, Any]:
    """How images were sampled, from a row of samples.json or the plan of an array."""
    known = {key: row.get(key) for key in SAMPLING}
    return {"model_hash": row.get("model_hash"), "sampling": known}


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


def _counted(name: str, there: int, wanted: int | None) -> int:
    if wanted is not None and wanted > there:
        raise UserError(f"{name} holds {there} images, --count {wanted} is more: lower it")
    return there if wanted is None else wanted


def _in_seed_order(
    layout: Layout, rows: list[dict[str, Any]]
) -> tuple[Layout, list[dict[str, Any]]]:
    """Images and rows of a folder of samples by seed. Raises UserError if one is missing."""
    places = {name: number for number, name in enumerate(layout.names)}
    rows = sorted(rows, key=lambda row: int(row["seed"]))
    for row in rows:
        if f"{row['seed']}.png" not in places:
            raise UserError(
                f"{layout.root} lacks {row['seed']}.png, which its samples.json lists: sample again"
            )
    return layout.part([places[f"{row['seed']}.png"] for row in rows]), rows


def _labels_of_rows(rows: Sequence[dict[str, Any]]) -> tuple[str, ...] | None:
    labels = [row.get("class", row.get("label")) for row in rows]
    return None if any(label is None for label in labels) else tuple(map(str, labels))


def _labels_of_layout(layout: Layout) -> tuple[str, ...] | None:
    return tuple(layout.class_names[label] for label in layout.labels) or None


def _labels_of_array(path: Path, count: int) -> tuple[str, ...]:
    labels = read_array(path, "arr_1")
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise UserError(
            f"{path}: arr_1 is {labels.dtype} {labels.shape}, no label for each of {count} images: "
            "save whole numbers, or leave it out"
        )
    return tuple(str(label) for label in labels.tolist())


def seeds_text(seeds: Sequence[int] | None) -> str | None:
    """Seeds as a record writes them."""
    return None if seeds is None else write_numbers(seeds)
