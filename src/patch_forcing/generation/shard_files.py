"""What sampling into an array leaves on disk: its shards, and then what is made of all of them."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from patch_forcing.core.errors import UserError
from patch_forcing.generation.conditions import Conditions
from patch_forcing.generation.gallery import sample_rows, save_sheet
from patch_forcing.generation.pipeline import Pipeline
from patch_forcing.generation.result import PipelineResult
from patch_forcing.generation.sample_folder import SampleFolder
from patch_forcing.io.atomic import (
    atomic_folder,
    broken_file,
    remove_leftovers,
    write_manifest,
)
from patch_forcing.io.image_file import save_image
from patch_forcing.io.ledger import shard_path
from patch_forcing.io.npz import read_about, read_images, write_npz
from patch_forcing.views.images import to_pil
from patch_forcing.views.sheets import MAX_SHEET_IMAGES, run_title

_IMAGES, _SUMMARY = "images.npy", "summary.json"


@dataclass(frozen=True)
class SampleFiles:
    """npz: the array. out: the folder of images, sheets and samples.json."""

    npz: Path
    out: Path

    @property
    def folder(self) -> SampleFolder:
        """What lies in `out`."""
        return SampleFolder(self.out)

    @property
    def parts(self) -> Path:
        """The folder of shards."""
        return self.npz.with_name(f"{self.npz.name}.parts")

    def write_shard(self, number: int, result: PipelineResult, pipe: Pipeline) -> None:
        """The images of a shard and their record, complete or absent."""
        summary = {
            "nfe": result.nfe,
            "seconds": result.seconds,
            "rows": sample_rows(result, pipe),
        }
        with atomic_folder(shard_path(self.parts, number), replace=True) as folder:
            np.save(folder / _IMAGES, pixel_rows(result), allow_pickle=False)
            (folder / _SUMMARY).write_text(json.dumps(summary), encoding="utf-8")
            write_manifest(folder)

    def images(self, number: int) -> np.ndarray:
        """(B, H, W, C) uint8 of a shard."""
        file = shard_path(self.parts, number) / _IMAGES
        images: np.ndarray = np.load(file, allow_pickle=False)
        return images

    def write_pngs(self, seeds: Sequence[int], images: np.ndarray, again: bool = True) -> None:
        """SEED.png of each image; with `again=False`, of those that are not there."""
        for seed, image in zip(seeds, images, strict=True):
            file = self.folder.image(seed)
            if again or not file.exists():
                save_image(_picture(image), file)

    def restore(self, seeds: Sequence[int], captions: Sequence[str], pngs: bool) -> None:
        """SEED.png and the sheet, of the array that is there.

        captions: of the first images. pngs: whether to write images that are not there; those that
        are there become the array's in any case.
        """
        tiles: list[Image.Image] = []
        for seed, image in zip(seeds, read_images(self.npz), strict=True):
            file, picture = self.folder.image(seed), _picture(image)
            if len(tiles) < MAX_SHEET_IMAGES:
                tiles.append(picture)
            if (file.exists() or pngs) and not _shows(file, picture):
                save_image(picture, file)
        self._save_sheet(tiles, captions, read_about(self.npz))

    def assemble(
        self,
        shards: int,
        seeds: Sequence[int],
        conditions: Conditions,
        plan: dict[str, Any],
    ) -> None:
        """The sheet, samples.json, and last the array, whose presence means that all is done.

        Raises UserError if a shard is damaged.
        """
        remove_leftovers(self.npz.parent, f"{self.npz.name}-")
        for number in range(shards):
            broken = broken_file(shard_path(self.parts, number))
            if broken:
                raise UserError(
                    f"{broken} is damaged: start the same command again, which makes it anew"
                )
        images = chain.from_iterable(map(self.images, range(shards)))
        tiles = list(islice(images, MAX_SHEET_IMAGES))
        first = slice(MAX_SHEET_IMAGES)
        captions = conditions[first].captions(seeds[first])
        whole = plan | {"nfe": self._mean_nfe(shards)}
        self._save_sheet(list(map(_picture, tiles)), captions, whole)
        summaries = map(self._summary, range(shards))
        self.folder.write_rows(chain.from_iterable(s["rows"] for s in summaries))
        shape = (len(seeds), *tiles[0].shape)
        write_npz(self.npz, shape, map(self.images, range(shards)), whole)
        self.folder.finish()

    def _save_sheet(
        self, tiles: Sequence[Image.Image], captions: Sequence[str], about: dict[str, Any]
    ) -> None:
        kind = about.get("guidance_kind")
        title = run_title(about["sampler"], about["guidance"], about["nfe"], kind)
        save_sheet(tiles, captions, self.folder.sheet, title)

    def _mean_nfe(self, shards: int) -> float:
        """Evaluations an image, on average over all shards."""
        images, evaluations = 0, []
        for summary in map(self._summary, range(shards)):
            count = len(summary["rows"])
            evaluations.append(summary["nfe"] * count)
            images += count
        return math.fsum(evaluations) / images

    def _summary(self, number: int) -> dict[str, Any]:
        text = (shard_path(self.parts, number) / _SUMMARY).read_text(encoding="utf-8")
        summary: dict[str, Any] = json.loads(text)
        return summary


def pixel_rows(result: PipelineResult) -> np.ndarray:
    """(B, H, W, C) uint8."""
    return result.pixels.permute(0, 2, 3, 1).contiguous().numpy()


def _picture(image: np.ndarray) -> Image.Image:
    """(H, W, C) → an image."""
    return to_pil(torch.from_numpy(image.copy()).permute(2, 0, 1))


def _shows(file: Path, picture: Image.Image) -> bool:
    """Whether a file is this image."""
    try:
        with Image.open(file) as image:
            return image.mode == picture.mode and image.tobytes() == picture.tobytes()
    except (OSError, ValueError, SyntaxError):
        return False
