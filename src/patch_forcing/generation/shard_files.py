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
from patch_forcing.generation.gallery import (
    MAX_SHEET_IMAGES,
    sample_rows,
    save_sheet,
    write_rows,
)
from patch_forcing.generation.pipeline import Pipeline, PipelineResult
from patch_forcing.io.atomic import (
    atomic_folder,
    broken_file,
    remove_leftovers,
    write_manifest,
)
from patch_forcing.io.ledger import shard_path
from patch_forcing.io.npz import write_npz
from patch_forcing.views.images import to_pil

_IMAGES, _SUMMARY = "images.npy", "summary.json"


@dataclass(frozen=True)
class SampleFiles:
    """npz: the array. out: the folder of SEED.png, sheet.png, maps.png and samples.json."""

    npz: Path
    out: Path

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
        self.out.mkdir(parents=True, exist_ok=True)
        for seed, image in zip(seeds, images, strict=True):
            file = self.out / f"{seed}.png"
            if again or not file.exists():
                _picture(image).save(file)

    def assemble(
        self,
        shards: int,
        seeds: Sequence[int],
        conditions: Conditions,
        plan: dict[str, Any],
    ) -> None:
        """sheet.png, samples.json, and last the array, whose presence means that all is done.

        Raises UserError if a shard is damaged.
        """
        remove_leftovers(self.npz.parent, f"{self.npz.name}-")
        for number in range(shards):
            broken = broken_file(shard_path(self.parts, number))
            if broken:
                raise UserError(
                    f"{broken} is damaged: start the same command again, which makes it anew"
                )
        self.out.mkdir(parents=True, exist_ok=True)
        images = chain.from_iterable(map(self.images, range(shards)))
        tiles = list(islice(images, MAX_SHEET_IMAGES))
        first = slice(MAX_SHEET_IMAGES)
        captions = conditions[first].captions(seeds[first])
        save_sheet(list(map(_picture, tiles)), captions, self.out / "sheet.png")
        summaries = map(self._summary, range(shards))
        write_rows(chain.from_iterable(s["rows"] for s in summaries), self.out / "samples.json")
        shape = (len(seeds), *tiles[0].shape)
        whole = plan | {"nfe": self._mean_nfe(shards)}
        write_npz(self.npz, shape, map(self.images, range(shards)), whole)

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
