"""Latents on disk: a folder of shards, each complete and checksummed or absent.

    latents.json             what they are: autoencoder, shape, classes, statistics; written last
    encode.json              how they are made; an encoding that goes on must be the same
    shards/shard-00000/
      latents.npy            (M, K, h, w) fp16: C channels of means, then C of log-variances
      mirrored.npy           the same images, mirrored before they were encoded; optional
      labels.npy             (M,) int64, if there are classes
      captions.jsonl         M lines, each a JSON array of an image's captions, or of pairs of a
                             caption and its weight; optional
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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from patch_forcing.core.errors import UserError
from patch_forcing.data.captions import Caption, restored, stored
from patch_forcing.io.atomic import MANIFEST, atomic_folder, sha256, write_manifest
from patch_forcing.models.latent_space import LatentSpace, latent_space

FORMAT_VERSION, CAPTIONED_VERSION, WEIGHTED_VERSION = 1, 2, 3
"""Of latents.json and encode.json: without captions, which every release reads, with them, and with
weights of theirs."""
INDEX, PLAN, SUMMARY = "latents.json", "encode.json", "shard.json"
CAPTIONS = "captions.jsonl"
Captions = Sequence[Caption]
"""Of each sample; an empty text is none."""


class ShardArrays(NamedTuple):
    """What a shard holds; arrays may be mapped from the disk."""

    latents: np.ndarray
    mirrored: np.ndarray | None
    labels: np.ndarray | None
    numbers: np.ndarray
    captions: Captions | None = None


class CaptionLines(Sequence[Caption]):
    """The captions of a shard, mapped; a line is parsed when it is read."""

    def __init__(self, file: Path):
        self._file = file
        # an empty file cannot be mapped
        self._bytes = np.memmap(file, np.uint8, "r") if file.stat().st_size else np.zeros(0, "u1")
        self._ends = np.flatnonzero(self._bytes == ord("\n"))

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, number: Any) -> Any:
        """Raises UserError if the line is damaged."""
        start, end = self._ends[number - 1] + 1 if number else 0, self._ends[number]
        try:
            return restored(json.loads(self._bytes[start:end].tobytes()))
        except (ValueError, TypeError, IndexError, KeyError, RecursionError):
            raise UserError(
                f"{self._file}:{number + 1} is damaged: start the same patch-forcing encode again, "
                "which mends it, or copy it again"
            ) from None


def write_shard(path: Path, arrays: ShardArrays, summary: dict[str, Any]) -> None:
    """Write a shard, complete or not at all; one that another process finished is replaced."""
    with atomic_folder(path, replace=True) as folder:
        for name, array in arrays._asdict().items():
            if isinstance(array, np.ndarray):
                np.save(folder / f"{name}.npy", array, allow_pickle=False)
        if arrays.captions is not None:
            rows = map(stored, arrays.captions)
            text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
            (folder / CAPTIONS).write_bytes(text.encode("utf-8"))
        (folder / SUMMARY).write_text(json.dumps(summary), encoding="utf-8")
        write_manifest(folder)


def open_shard(path: Path) -> ShardArrays:
    """Map a shard into memory. Raises UserError if a file is missing or is not all there."""
    try:
        rows = json.loads((path / MANIFEST).read_text(encoding="utf-8"))

        def whole(name: str) -> Path | None:
            if name not in rows:
                return None
            if (path / name).stat().st_size != rows[name]["bytes"]:
                raise ValueError(f"{name} is not as long as it was written")
            return path / name

        arrays: dict[str, np.ndarray | None] = {}
        for name in ("latents", "mirrored", "labels", "numbers"):
            file = whole(f"{name}.npy")
            mapped = None if file is None else np.load(file, mmap_mode="r", allow_pickle=False)
            # asarray: a memmap's own indexing is slow
            arrays[name] = None if mapped is None else np.asarray(mapped)
        assert arrays["latents"] is not None and arrays["numbers"] is not None
        file = whole(CAPTIONS)
        captions = None if file is None else CaptionLines(file)
        return ShardArrays(**arrays, captions=captions)  # type: ignore[arg-type]
    except (OSError, ValueError, KeyError, TypeError, AssertionError, RecursionError) as error:
        raise UserError(
            f"{path} is damaged ({error}): start the same patch-forcing encode again, which mends "
            "it, or copy it again"
        ) from None


def read_summary(path: Path) -> dict[str, Any]:
    """The writer's notes on a shard. Raises UserError if they cannot be read."""
    try:
        summary: dict[str, Any] = json.loads((path / SUMMARY).read_text(encoding="utf-8"))
        return summary
    except (OSError, ValueError, RecursionError):
        raise UserError(f"{path / SUMMARY} is damaged: remove {path} and encode again") from None


def manifest_hash(path: Path) -> str:
    """A hash that differs between shards whose contents differ."""
    return sha256(path / MANIFEST)


@dataclass(frozen=True)
class LatentIndex:
    """latents.json.

    space: of the autoencoder. size: height and width of the images in pixels. shape: C, h, w.
    logvar, mirrored, captions: whether the shards hold log-variances, mirrored images, captions.
    images: samples in all shards. bad_samples: images left out. shards: how many there are.
    hash: differs between contents. statistics: mean and std of each channel as a network sees it.
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
    captions: bool = False

    @property
    def rows(self) -> tuple[int, int, int]:
        """The shape in which a sample is stored: means, then log-variances."""
        channels, height, width = self.shape
        return (channels * (1 + self.logvar), height, width)


def read_index(folder: Path) -> LatentIndex:
    """Which latents lie in a folder. Raises UserError if there are none, or not all yet."""
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
        version = row.pop("format_version")
        if version not in (FORMAT_VERSION, CAPTIONED_VERSION, WEIGHTED_VERSION):
            raise UserError(f"{file}: its format is of another release: encode again, or upgrade")
        row["captions"] = version != FORMAT_VERSION
        row["space"] = latent_space(row.pop("autoencoder"))
        row["shape"], row["class_names"] = tuple(row["shape"]), tuple(row["class_names"])
        return LatentIndex(**row)
    except UserError as error:
        raise error if str(file) in str(error) else UserError(f"{file}: {error}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{file} is damaged ({error!r}): copy it again, or encode again") from None
