"""Latents on disk: a folder of shards, each complete and checksummed or absent.

    latents.json             what they are: autoencoder, shape, classes, statistics; written last
    encode.json              what they were asked to be; a continued encoding must ask for the same
    shards/shard-00000/
      latents.npy            (M, K, h, w) fp16: C channels of means, then C of log-variances
      mirrored.npy           the same images, mirrored before they were encoded; if asked for
      labels.npy             (M,) int64, if there are classes
      numbers.npy            (M,) int64: which images of the source these are
      shard.json             sums, and what could not be read
      manifest.json          size and SHA-256 of each file

Why .npy: the header is text, numpy maps it into memory by itself and loads no pickles, rows lie one
after the other without padding, so that a sample is one read of K·h·w·2 bytes, and any program can
read it. safetensors would do as well, but gives rows of a mapped file only by way of a copy of all.
Means and log-variances are those of the encoder, not normalised: that is arithmetic, and a latent
can be drawn anew each epoch. fp16 keeps 11 bits, a thousandth of the posterior's own spread.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from patch_forcing.core.errors import UserError
from patch_forcing.io.atomic import MANIFEST, atomic_folder, sha256, write_manifest
from patch_forcing.models.folder import latent_space
from patch_forcing.models.latent_space import LatentSpace

FORMAT_VERSION = 1
INDEX, PLAN, SUMMARY = "latents.json", "encode.json", "shard.json"
_LATENTS, _MIRRORED, _LABELS, _NUMBERS = "latents", "mirrored", "labels", "numbers"


class ShardArrays(NamedTuple):
    """What a shard holds; arrays may be mapped from the disk."""

    latents: np.ndarray
    mirrored: np.ndarray | None
    labels: np.ndarray | None
    numbers: np.ndarray


def write_shard(path: Path, arrays: ShardArrays, summary: dict[str, Any]) -> None:
    """Write a shard, complete or not at all; one that another process finished is replaced."""
    with atomic_folder(path, replace=True) as folder:
        for name, array in arrays._asdict().items():
            if array is not None:
                np.save(folder / f"{name}.npy", array, allow_pickle=False)
        (folder / SUMMARY).write_text(json.dumps(summary), encoding="utf-8")
        write_manifest(folder)


def open_shard(path: Path) -> ShardArrays:
    """Map a shard into memory. Raises UserError if a file is missing or is not all there."""
    try:
        rows = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        found: dict[str, np.ndarray | None] = {}
        for name in ShardArrays._fields:
            file = path / f"{name}.npy"
            if file.name not in rows:
                found[name] = None
                continue
            if file.stat().st_size != rows[file.name]["bytes"]:
                raise ValueError(f"{file.name} is not as long as it was written")
            # asarray: a memmap's own indexing is slow
            found[name] = np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))
        assert found["latents"] is not None and found["numbers"] is not None
        return ShardArrays(**found)  # type: ignore[arg-type]
    except (OSError, ValueError, KeyError, TypeError, AssertionError, RecursionError) as error:
        raise UserError(
            f"{path} is damaged ({error}): start the same patch-forcing encode again, which mends "
            "it, or copy it again"
        ) from None


def read_summary(path: Path) -> dict[str, Any]:
    """What a shard's writer noted. Raises UserError if it cannot be read."""
    try:
        summary: dict[str, Any] = json.loads((path / SUMMARY).read_text(encoding="utf-8"))
        return summary
    except (OSError, ValueError, RecursionError):
        raise UserError(f"{path / SUMMARY} is damaged: remove {path} and encode again") from None


def manifest_hash(path: Path) -> str:
    """Tells contents of shards apart."""
    return sha256(path / MANIFEST)


@dataclass(frozen=True)
class LatentIndex:
    """latents.json.

    space: the autoencoder. size: height and width of the images in pixels. shape: C, h, w. logvar:
    whether log-variances are there. mirrored: whether mirrored images are. images: samples in all.
    bad_samples: images left out. shards: their number. hash: tells contents apart. statistics: mean
    and std of each channel as a network sees it.
    """

    space: LatentSpace
    size: int
    shape: tuple[int, int, int]
    logvar: bool
    mirrored: bool
    images: int
    bad_samples: int
    class_names: tuple[str, ...]
    shards: int
    hash: str
    statistics: dict[str, Any]

    @property
    def rows(self) -> tuple[int, int, int]:
        """The shape in which a sample is stored: means, then log-variances."""
        channels, height, width = self.shape
        return (channels * (1 + self.logvar), height, width)


def read_index(folder: Path) -> LatentIndex:
    """What latents lie in a folder. Raises UserError if there are none, or not all yet."""
    file = folder / INDEX
    if not file.is_file():
        if (folder / PLAN).is_file():
            raise UserError(
                f"{folder} is not complete: start the same patch-forcing encode again, which goes "
                "on"
            )
        what = "holds no latents" if folder.is_dir() else "is not there"
        raise UserError(
            f"{folder} {what}: make them with patch-forcing encode DATA --autoencoder NAME "
            "--out DIR"
        )
    try:
        row: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if row.pop("format_version") != FORMAT_VERSION:
            raise UserError(f"{file}: its format is of another release: encode again, or upgrade")
        row["space"] = latent_space(row.pop("autoencoder"))
        row["shape"], row["class_names"] = tuple(row["shape"]), tuple(row["class_names"])
        return LatentIndex(**row)
    except UserError as error:
        raise error if str(file) in str(error) else UserError(f"{file}: {error}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{file} is damaged ({error!r}): copy it again, or encode again") from None
