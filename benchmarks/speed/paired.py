"""Two checkouts against each other: the same commands, in turns, on one machine.

    python -m benchmarks.speed.paired --before ../other-checkout

Only the command line is used, so that any two versions compare: `bench speed` for forward passes
and samplers, `train folder` for a training step. The order of the two changes every turn, and a
ratio is of medians over turns: above 1, this checkout is slower. Trainings run side by side, and
all but one are paused at any time.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.common.options import command_line
from benchmarks.common.record import RESULTS, ROOT, provenance, write_json

TRAINED = {  # width, depth, heads, images a step, of 32 pixels in 256 patches
    "B": (768, 12, 12, 256),
    "XL": (1152, 28, 16, 128),
    "tiny": (32, 1, 2, 4),
}
ROW = 10  # steps of a row of the log
ROWS = 3  # of a turn
WARM_UP = 4  # rows before the first turn: compiling, recording, the first full batches
Times = dict[str, float]


def environment(tree: Path) -> dict[str, str]:
    """Variables with which Python imports the package of a checkout."""
    path = os.pathsep.join([str(tree / "src"), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"PYTHONPATH": path}


def run(tree: Path, *arguments: str) -> None:
    """A command of a checkout. Raises CalledProcessError if it fails."""
    command = [sys.executable, "-m", "patch_forcing", *arguments]
    subprocess.run(command, env=environment(tree), check=True, stdout=subprocess.DEVNULL)


def sampling(tree: Path, model: str, device: str, work: Path) -> Times:
    """Milliseconds of forward passes and of whole runs of samplers."""
    run(tree, "bench", "speed", model, "--device", device, "--out", str(work / "speed.json"))
    rows = json.loads((work / "speed.json").read_text(encoding="utf-8"))["rows"]
    return {
        f"{model} {row['what']}": 1e3 * statistics.median(row["timing"]["seconds"]) for row in rows
    }


def samplings(
    trees: dict[str, Path], options: argparse.Namespace, work: Path
) -> Iterator[tuple[int, str, Times]]:
    """Turn, checkout and milliseconds of forward passes and samplers of every model."""
    for turn in range(options.turns if options.models else 0):
        for name in sorted(trees, reverse=turn % 2 == 0):
            for model in options.models:
                yield turn, name, sampling(trees[name], model, options.device, work)


class Training:
    """A short training by a checkout, as a process of its own that can be paused.

    A paused process keeps its memory and computes nothing, so that two checkouts take turns of a
    few seconds on one card, and neither its temperature nor a process's luck falls on one alone.
    """

    def __init__(self, tree: Path, size: str, times: str, device: str, work: Path) -> None:
        width, depth, heads, self.batch = TRAINED[size]
        self.run = Path(tempfile.mkdtemp(dir=work)) / "run"
        options = {
            "data.path": work / "images",
            "out": self.run,
            "network.patch-size": 2,
            "network.hidden-size": width,
            "network.depth": depth,
            "network.num-heads": heads,
            "batch-size": self.batch,
            "timesteps": times,
            "steps": 10**6,
            "log-every": ROW,
            "sample-every": 0,
            "snapshot-every": 0,
            "checkpoint-every": 10**6,
            "precision": "bf16",
            "device": device,
        }
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        words.append("--compile" if device == "cuda" else "--no-compile")
        command = [sys.executable, "-m", "patch_forcing", "train", "folder", *words]
        self.process = subprocess.Popen(command, env=environment(tree), stdout=subprocess.DEVNULL)

    def rows(self) -> list[dict[str, float]]:
        """What the training has logged. Raises RuntimeError if it has ended."""
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.run}: the training ended with {self.process.returncode}")
        log = self.run / "metrics.jsonl"
        text = log.read_text(encoding="utf-8") if log.exists() else ""
        return [json.loads(line) for line in text.split("\n")[:-1]]

    def until(self, count: int) -> list[dict[str, float]]:
        """The rows, once there are so many; the process is paused then."""
        self.process.send_signal(signal.SIGCONT)
        while len(rows := self.rows()) < count:
            time.sleep(0.02)
        self.process.send_signal(signal.SIGSTOP)
        return rows

    def turn(self, rows: int) -> list[float]:
        """Milliseconds of a step in each of the next rows, after the one that holds the pause."""
        start = len(self.rows()) + 1
        speeds = [
            row["images_per_second"] for row in self.until(start + rows)[start : start + rows]
        ]
        return [1e3 * self.batch / speed for speed in speeds]


def trainings(
    trees: dict[str, Path], options: argparse.Namespace, work: Path
) -> Iterator[tuple[int, str, Times]]:
    """Turn, checkout and milliseconds of steps of every kind of training.

    All processes start at once, and are paused when they have warmed up.
    """
    running = {
        (name, f"{size} training step, {times}"): Training(tree, size, times, options.device, work)
        for size in options.train
        for times in options.timesteps
        for name, tree in trees.items()
    }
    try:
        with ThreadPoolExecutor(len(running)) as threads:
            list(threads.map(lambda training: training.until(WARM_UP), running.values()))
        for turn in range(options.turns):
            for name, what in sorted(running, reverse=turn % 2 == 0):
                yield turn, name, {what: statistics.median(running[name, what].turn(ROWS))}
    finally:
        for training in running.values():
            training.process.kill()
            training.process.wait()


def write_images(folder: Path, count: int = 512) -> None:
    """Noise of 32 pixels, small enough to be held in memory."""
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{number}.png")


def main() -> None:
    """Measure in turns, print, write after each turn."""
    parser = command_line(__doc__, out=f"{RESULTS}/speed/paired.json")
    parser.add_argument("--before", type=Path, required=True, help="the other checkout")
    parser.add_argument("--models", nargs="*", default=["B/2", "XL/2"], help="of bench speed")
    parser.add_argument("--train", nargs="*", default=["B"], choices=TRAINED)
    parser.add_argument("--timesteps", nargs="*", default=["ltg", "ltg:levels=8"])
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    trees = {"before": options.before.resolve(), "after": ROOT}
    measured: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_images(work / "images")
        for turn, name, times in chain(
            samplings(trees, options, work), trainings(trees, options, work)
        ):
            for what, milliseconds in times.items():
                measured[what][name].append(milliseconds)
                print(f"turn {turn}, {name}: {what} {milliseconds:.3f} ms", flush=True)
    write(options, measured)


def write(options: argparse.Namespace, measured: dict[str, dict[str, list[float]]]) -> None:
    """The table so far, printed and as JSON."""
    rows = []
    for what, times in measured.items():
        before, after = (statistics.median(times[name]) for name in ("before", "after"))
        rows.append({"what": what, "ratio": after / before, "ms": dict(times)})
        print(f"{what:45}{before:10.3f}{after:10.3f}{after / before:8.3f}")
    write_json(options.out, {**provenance(__file__, options.device), "rows": rows})


if __name__ == "__main__":
    main()
