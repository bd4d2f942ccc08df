"""Encoding against the autoencoder alone, and how fast latents are read for training.

    python benchmarks/latents.py --out docs/results/latents.json

Encoding: generated JPEG files, an autoencoder of Stable Diffusion's class with random weights,
small enough for a CPU; `Encoding.run` (reading, encoding, writing with checksums) beside the same
autoencoder on the same batches in memory, in turns. Reading: latents as ImageNet's (4×32×32, means
and log-variances in fp16, mirrored copies too) in the recipe's batches of 256.
"""

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from patch_forcing.codecs.autoencoders import load_autoencoder
from patch_forcing.data.folders import FolderSource
from patch_forcing.data.latent_shards import (
    FORMAT_VERSION,
    INDEX,
    ShardArrays,
    write_shard,
)
from patch_forcing.data.latents import LatentsSource
from patch_forcing.io.ledger import shard_path
from patch_forcing.io.provenance import commit, hardware, versions
from patch_forcing.models.latent_space import LatentSpace
from patch_forcing.runs.encode import Encoding
from patch_forcing.runs.shard_encoder import EncodeOptions, ShardEncoder

SIZE, IMAGES, BATCH, SHARD = 128, 192, 16, 64
WIDTHS = (32, 64, 64, 64)
LATENTS, PER_SHARD, READ_BATCH = 65_536, 8192, 256


def autoencoder(folder: Path):
    """Of Stable Diffusion's class and a quarter of its width, or less."""
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=WIDTHS,
        layers_per_block=2,
        norm_num_groups=32,
    ).save_pretrained(folder)
    return load_autoencoder(folder)


def write_images(folder: Path) -> None:
    """JPEG files with structure, about as many bytes a pixel as photographs."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for i in range(IMAGES):
        coarse = generator.integers(0, 256, (12, 16, 3), np.uint8)
        Image.fromarray(coarse).resize((200, 150), Image.Resampling.BICUBIC).save(
            folder / f"{i:04d}.jpg", quality=90
        )


def encoding(root: Path, repeats: int) -> dict:
    """Images a second, by `Encoding` and by the autoencoder alone."""
    kl = autoencoder(root / "kl")
    write_images(root / "images")
    data = FolderSource(str(root / "images")).open()
    options = EncodeOptions(size=SIZE, batch_size=BATCH, shard_size=SHARD)
    batch = torch.rand(BATCH, 3, SIZE, SIZE) * 2 - 1
    rows = (8, SIZE // 8, SIZE // 8)
    encoder = ShardEncoder(data, kl, options, rows, torch.device("cpu"))

    def alone() -> float:
        started = time.perf_counter()
        for _ in range(IMAGES // BATCH):
            for images in (batch, batch.flip(-1)):
                kl.encode(images)
        return IMAGES / (time.perf_counter() - started)

    def whole(turn: int) -> float:
        job = Encoding(data, kl, root / f"out{turn}", options)
        started = time.perf_counter()
        job.run(progress=False)
        return IMAGES / (time.perf_counter() - started)

    def reading() -> float:
        started = time.perf_counter()
        for number in range(IMAGES):
            encoder._reader(number)
        return IMAGES / (time.perf_counter() - started)

    alone()
    pairs = [(alone(), whole(turn)) for turn in range(repeats)]
    shares = [two / one for one, two in pairs]
    return {
        "autoencoder": {"class": "AutoencoderKL", "widths": WIDTHS, "weights": "random"},
        "options": asdict(options),
        "images": IMAGES,
        "autoencoder_images_per_second": [round(one, 2) for one, _ in pairs],
        "encode_images_per_second": [round(two, 2) for _, two in pairs],
        "share_of_autoencoder": round(statistics.median(shares), 4),
        "shares": [round(share, 4) for share in shares],
        "one_thread_reads_images_per_second": round(reading(), 1),
        "note": "an image is encoded twice, once mirrored; images per second are of images",
    }


def write_latents(folder: Path) -> None:
    """Random ones."""
    shape, count = (4, 32, 32), LATENTS // PER_SHARD
    generator = np.random.default_rng(0)
    for shard in range(count):
        numbers = np.arange(shard * PER_SHARD, (shard + 1) * PER_SHARD)
        parts = []
        for _ in range(2):
            rows = generator.random((PER_SHARD, 8, 32, 32), np.float32).astype(np.float16)
            rows[:, 4:] -= 8
            parts.append(rows)
        write_shard(shard_path(folder, shard), ShardArrays(*parts, numbers % 1000, numbers), {})
    space = LatentSpace("random", "random", "random", 4, 8, (0.18215,))
    index = {
        "format_version": FORMAT_VERSION, "size": 256, "shape": shape, "logvar": True,
        "autoencoder": asdict(space), "mirrored": True, "images": LATENTS, "bad_samples": 0,
        "class_names": [str(i) for i in range(1000)], "shards": count, "hash": "random",
        "statistics": {},
    }  # fmt: skip
    (folder / INDEX).write_text(json.dumps(index))


def reading(folder: Path, repeats: int) -> dict:
    """Latents a second: as stored, and as a whole batch on the CPU with and without noise."""
    write_latents(folder)
    steps = 40

    def rate(data, what) -> float:
        what(data, 0)
        rates = []
        for repeat in range(repeats):
            started = time.perf_counter()
            for step in range(1 + repeat * steps, 1 + (repeat + 1) * steps):
                what(data, step)
            rates.append(steps * READ_BATCH / (time.perf_counter() - started))
        return round(statistics.median(rates))

    def rows(data, step):
        data._read_batch(step, READ_BATCH, 0, None)

    def batch(data, step):
        data.batch(step, READ_BATCH, 0)

    sampled = LatentsSource(str(folder)).open()
    means = LatentsSource(str(folder), sample_posterior=False).open()
    gib = sum(file.stat().st_size for file in folder.rglob("*.npy")) / 2**30
    return {
        "latents": LATENTS,
        "shape": [4, 32, 32],
        "bytes_each": 2 * 2 * 4 * 32 * 32,
        "gib_on_disk": round(gib, 2),
        "batch_size": READ_BATCH,
        "rows_per_second": rate(sampled, rows),
        "batches_of_means_per_second_of_latents": rate(means, batch),
        "batches_of_posterior_samples_per_second_of_latents": rate(sampled, batch),
        "note": "rows: what the CPU does where a GPU draws from the posterior; files in the page "
        "cache. The last one draws 4,096 counted normals a latent on the CPU",
    }


def main() -> None:
    """Measure, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        result = {
            "date": datetime.now(UTC).date().isoformat(),
            "commit": commit(),
            "hardware": hardware("cpu"),
            "versions": versions(),
            "encoding": encoding(Path(root), options.repeats),
            "reading": reading(Path(root) / "latents", options.repeats),
        }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
