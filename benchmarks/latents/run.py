"""Encoding against the autoencoder alone, and how fast latents are read for training.

    python -m benchmarks.latents.run --out docs/results/latents.json

Encoding: generated JPEG files, an autoencoder of Stable Diffusion's class with random weights, on a
CPU a quarter as wide; `Encoding.run` (reading, encoding, writing with checksums) beside the same
autoencoder on the same batches on the device, in turns. Reading: latents as ImageNet's (4×32×32,
means and log-variances in fp16, mirrored copies too) in the recipe's batches of 256.
"""

import json
import statistics
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from PIL import Image

from benchmarks.common.options import command_line
from benchmarks.common.record import Row, check_kept, provenance, write_json
from patch_forcing.codecs.autoencoders import load_autoencoder
from patch_forcing.core.errors import UserError
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.latent_shards import (
    FORMAT_VERSION,
    INDEX,
    ShardArrays,
    write_shard,
)
from patch_forcing.data.sources import FolderSource, LatentsSource
from patch_forcing.io.ledger import shard_path
from patch_forcing.io.provenance import hardware
from patch_forcing.models.latent_space import LatentSpace
from patch_forcing.runs.encode import Encoding
from patch_forcing.runs.encode_options import EncodeOptions
from patch_forcing.runs.shard_encoder import ShardEncoder


class Work(NamedTuple):
    """What is encoded, and by what."""

    size: int
    images: int
    batch: int
    shard: int
    alone: int
    """Batches of the autoencoder by itself."""
    widths: tuple[int, ...]
    file_size: tuple[int, int]


WORK = {
    "cpu": Work(128, 192, 16, 64, 12, (32, 64, 64, 64), (200, 150)),
    "cuda": Work(256, 8192, 64, 1024, 16, (128, 256, 512, 512), (500, 375)),
}
DIFFERENT = 128
"""Images; more files are copies."""
Precision = Literal["fp32", "bf16"]
PRECISIONS: dict[str, tuple[Precision, ...]] = {"cpu": ("fp32",), "cuda": ("fp32", "bf16")}
LATENTS, PER_SHARD, READ_BATCH = 65_536, 8192, 256


def save_autoencoder(folder: Path, widths: tuple[int, ...]):
    """Of Stable Diffusion's class, and of its width or less."""
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=widths,
        layers_per_block=2,
        norm_num_groups=32,
    ).save_pretrained(folder)


def write_images(folder: Path, work: Work) -> None:
    """JPEG files with structure, about as many bytes a pixel as photographs."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for i in range(work.images):
        file = folder / f"{i:05d}.jpg"
        if i >= DIFFERENT:
            file.write_bytes((folder / f"{i % DIFFERENT:05d}.jpg").read_bytes())
            continue
        coarse = generator.integers(0, 256, (12, 16, 3), np.uint8)
        whole = Image.fromarray(coarse).resize(work.file_size, Image.Resampling.BICUBIC)
        whole.save(file, quality=90)


def encoding(root: Path, repeats: int, device: str) -> list[Row]:
    """Images a second, by `Encoding` and by the autoencoder alone, for each number type."""
    work = WORK[device]
    save_autoencoder(root / "kl", work.widths)
    write_images(root / "images", work)
    return [_encoding(root, repeats, device, name) for name in PRECISIONS[device]]


def _encoding(root: Path, repeats: int, device: str, precision: Precision) -> Row:
    work = WORK[device]
    kl = load_autoencoder(root / "kl", device)
    data = FolderSource(str(root / "images")).open()
    options = EncodeOptions(
        size=work.size, precision=precision, batch_size=work.batch, shard_size=work.shard
    )
    batch = torch.rand(work.batch, 3, work.size, work.size, device=device) * 2 - 1
    side = work.size // kl.space.factor
    encoder = ShardEncoder(data, kl, options, (8, side, side), torch.device("cpu"))
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None

    @torch.no_grad()
    def alone() -> float:
        wait()
        started = time.perf_counter()
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            for _ in range(work.alone):
                for images in (batch, batch.flip(-1)):
                    kl.encode(images)
        wait()
        return work.alone * work.batch / (time.perf_counter() - started)

    def whole(turn: int) -> float:
        job = Encoding(data, kl, root / f"out-{precision}-{turn}", options, device)
        started = time.perf_counter()
        job.run(progress=False)
        return work.images / (time.perf_counter() - started)

    def reading() -> float:
        started = time.perf_counter()
        for number in range(DIFFERENT):
            encoder._reader(number)
        return DIFFERENT / (time.perf_counter() - started)

    alone()
    pairs = [(alone(), whole(turn)) for turn in range(repeats)]
    shares = [two / one for one, two in pairs]
    row = {
        "autoencoder": {"class": "AutoencoderKL", "widths": work.widths, "weights": "random"},
        "hardware": hardware(device),
        "options": asdict(options),
        "images": work.images,
        "autoencoder_images_per_second": [round(one, 2) for one, _ in pairs],
        "encode_images_per_second": [round(two, 2) for _, two in pairs],
        "share_of_autoencoder": round(statistics.median(shares), 4),
        "shares": [round(share, 4) for share in shares],
        "one_thread_reads_images_per_second": round(reading(), 1),
        "note": "an image is encoded twice, once mirrored; images per second are of images",
    }
    print(json.dumps(row), flush=True)
    return row


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


def reading(folder: Path, repeats: int) -> Row:
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
        data._read(BatchSpec(step, READ_BATCH, 0))

    def batch(data, step):
        data.batch(BatchSpec(step, READ_BATCH, 0))

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


PARTS = ("encoding", "reading")


def main() -> None:
    """Measure, and write the JSON."""
    parser = command_line(__doc__, device=False)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--device", choices=WORK, default="cuda" if torch.cuda.is_available() else "cpu"
    )
    options = parser.parse_args()
    try:
        check_kept(options.out, options.parts, lambda held: {*PARTS} & held.keys())
    except UserError as error:
        parser.error(str(error))
    result = provenance(__file__, "cpu")
    for part in options.parts:
        with tempfile.TemporaryDirectory() as root:
            if part == "encoding":
                result[part] = encoding(Path(root), options.repeats, options.device)
            else:
                result[part] = reading(Path(root), options.repeats)
        write_json(options.out, result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
