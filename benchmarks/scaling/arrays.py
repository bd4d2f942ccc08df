"""Arrays of samples by any number of processes: seconds, and whether they are the same."""

import hashlib
import shutil
import time
from pathlib import Path

import numpy as np

from benchmarks.common.record import Row
from benchmarks.scaling.attempt import Attempt
from benchmarks.scaling.figures import steady_rate
from benchmarks.scaling.processes import as_ranks
from patch_forcing.generation.sample_shards import ShardOptions
from patch_forcing.io.ledger import shard_path
from patch_forcing.io.npz import read_about


def sampling(attempt: Attempt) -> Row:
    """An array by `patch-forcing sample --npz`, by a process on each GPU.

    The rate is that of shards after each process's first one, which pays for its start.
    """
    task, host = attempt.task, attempt.host
    model, images = host.work / "model", task.facts["images"]
    if not model.exists():
        attempt.result("model", 1, path=str(model))
    cut = ShardOptions(shard_size=4, batch_size=4) if host.toy else ShardOptions()
    npz = attempt.folder / "samples.npz"
    command = ["-m", "patch_forcing", "sample", str(model), "--device", host.device, "--no-pngs"]
    command += ["--labels", "all", "--seeds", f"0-{images - 1}"]
    command += ["--npz", str(npz), "--out", str(attempt.folder / "out")]
    command += ["--shard-size", str(cut.shard_size), "--batch-size", str(cut.batch_size)]
    command += [] if host.toy else ["--precision", "bf16"]
    command += ["--compile"] if host.compile else []
    parts, finished = npz.with_name(f"{npz.name}.parts"), dict[int, float]()
    shards = [shard_path(parts, number) for number in range(images // cut.shard_size)]

    def watch() -> None:
        for number, shard in enumerate(shards):
            if number not in finished and shard.exists():
                finished[number] = time.time()

    started = time.time()
    ended = attempt.run(as_ranks(task.gpus, command), watch=watch)
    rate = steady_rate(finished, task.gpus, cut.shard_size)
    result = {
        "nfe": read_about(npz)["nfe"],
        "images_per_second": rate,
        "seconds_without_start": images / rate,
        "seconds": max(one.at for one in ended) - started,
    }
    return result | _beside_one(npz, host.work / "arrays", images, task.gpus)


def _beside_one(npz: Path, kept: Path, images: int, gpus: int) -> Row:
    """The hash of an array, and how far it is from that of one GPU, which is kept."""
    kept.mkdir(exist_ok=True)
    alone = kept / f"{images}.npz"
    if gpus == 1:
        shutil.move(npz, alone)
        npz = alone
    pixels = _pixels(npz)
    row: Row = {"sha256": hashlib.sha256(pixels.tobytes()).hexdigest()}
    if gpus > 1 and alone.exists():
        apart = np.abs(_pixels(alone).astype(int) - pixels)
        row |= {"most_apart": int(apart.max()), "share_apart": float((apart > 0).mean())}
    return row


def _pixels(npz: Path) -> np.ndarray:
    with np.load(npz) as file:
        pixels: np.ndarray = file["arr_0"]
    return pixels
