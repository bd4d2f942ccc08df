"""Images of a layout: those of a folder, of shards, or of a data set of the Hub."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.data.captions import texts_of
from patch_forcing.data.folder_layout import find_images
from patch_forcing.data.images import BadImageError, read_plain
from patch_forcing.data.layout import Layout
from patch_forcing.generation.sample_folder import SampleFolder
from patch_forcing.io.sample_layout import holds_own_samples
from patch_forcing.scoring.images import Size, counted, sampled

LOG = logging.getLogger("patch_forcing")


class LayoutImages:
    """Images of a layout.

    size: what images are fitted to; None: all have that of the first one.
    """

    seeds: tuple[int, ...] | None = None

    def __init__(
        self, layout: Layout, name: str, size: Size | None = None, count: int | None = None
    ):
        """count: take the first so many. Raises UserError if there are fewer, or one is bad."""
        self.name, self.count = name, counted(name, len(layout.names), count)
        self._layout = layout.part(range(self.count))
        if self._layout.faults:
            number = min(self._layout.faults)
            place, fault = self._layout.place(number), self._layout.faults[number]
            raise UserError(f"{place}: {fault}: mend or remove it")
        self.labels = _labels(self._layout)
        self.prompts = _prompts(self._layout)
        self._fitted, self._deep = size is not None, False
        self.size = size or self._size_of_first()

    def _size_of_first(self) -> Size:
        pixels, _ = self._read(0, None)
        return pixels.shape[1], pixels.shape[2]

    def _read(self, number: int, size: Size | None) -> tuple[UInt8[np.ndarray, "3 H W"], bool]:
        """An image, and whether it is grey."""
        try:
            plain = read_plain(self._layout.file(number), size)
        except BadImageError as error:
            place = self._layout.place(number)
            raise UserError(f"{place} is bad ({error}): mend or remove it") from None
        if plain.deep and not self._deep:
            LOG.warning("%s holds images of more than 8 bits: they are rounded to 8", self.name)
            self._deep = True
        return plain.pixels, plain.grey

    def batch(self, places: slice) -> UInt8[Tensor, "B 3 H W"]:
        """These images. Raises UserError if one is bad, has another size, or all are grey."""
        numbers = range(self.count)[places]
        size = self.size if self._fitted else None
        read = [self._read(number, size) for number in numbers]
        for number, (image, _) in zip(numbers, read, strict=True):
            if image.shape[1:] != self.size:
                raise UserError(
                    f"{self._layout.place(number)} has {image.shape[2]}×{image.shape[1]} pixels, "
                    f"others of {self.name} {self.size[1]}×{self.size[0]}: bring them to one size"
                )
        if len(read) > 1 and all(grey for _, grey in read):
            raise UserError(
                f"{self.name} holds grey images: feature networks see colour, so save them in RGB"
            )
        return torch.from_numpy(np.stack([image for image, _ in read]))

    def evaluations(self, places: slice) -> list[float] | None:
        """Not known."""
        return None

    def recipe(self) -> dict[str, Any]:
        """What they are called."""
        return {"kind": "images", "name": self.name}

    def plan(self) -> dict[str, Any]:
        """Names, some contents, and the size."""
        names = self._layout.identity + self._layout.contents
        return {"folder": names, "count": self.count, "size": list(self.size)}


class FolderImages(LayoutImages):
    """A folder of images, or of samples with their samples.json, which are in the order of seeds.

    size: what images are fitted to; None: all have that of the first one.
    """

    def __init__(self, path: Path, size: Size | None = None, count: int | None = None):
        """count: take the first so many. Raises UserError if there are fewer, or none."""
        rows = SampleFolder(path).rows() if holds_own_samples(path) else []
        layout = find_images(path)
        if rows:
            layout, rows = _in_seed_order(layout, rows)
        super().__init__(layout, str(path), size, count)
        self._rows = rows[: self.count]
        if rows:
            self.seeds = tuple(row["seed"] for row in self._rows)
            self.labels = _texts([row.get("class", row.get("label")) for row in self._rows])
            self.prompts = _texts([row.get("prompt") for row in self._rows])

    def evaluations(self, places: slice) -> list[float] | None:
        """As samples.json has them."""
        nfe = [row.get("nfe") for row in self._rows[places]]
        return [float(value) for value in nfe if value is not None] or None

    def recipe(self) -> dict[str, Any]:
        """The folder; of samples, how they were made."""
        about: dict[str, Any] = {"kind": "folder", "name": self.name}
        if self._rows:
            about |= {"model": self._rows[0].get("model"), **sampled(self._rows[0])}
        return about


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


def _labels(layout: Layout) -> tuple[str, ...] | None:
    return tuple(layout.class_names[label] for label in layout.labels) or None


def _prompts(layout: Layout) -> tuple[str, ...] | None:
    """The first text of each image, if every one has one."""
    texts = [texts_of(caption)[:1] for caption in layout.captions]
    return tuple(text for (text,) in texts) if texts and all(texts) else None


def _texts(values: Sequence[object]) -> tuple[str, ...] | None:
    return None if any(value is None for value in values) else tuple(map(str, values))
