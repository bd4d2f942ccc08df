"""Two checkouts against each other: the same commands, in turns, on one machine.

    python -m benchmarks.speed.paired --before ../other-checkout

Only the command line is used, so that any two versions compare: `bench speed` for forward passes
and samplers, `train folder` for a training step. The order of the two changes every turn, and a
ratio is of medians over turns: above 1, this checkout is slower.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.common.options import command_line
from benchmarks.common.record import RESULTS, ROOT, provenance, write_json

TRAINED = {  # width, depth, heads, images a step, of 32 pixels in 256 patches
    "B": (768, 12, 12, 256),
    "XL": (1152, 28, 16, 128),
    "tiny": (64, 2, 2, 16),
}
Times = dict[str, float]


def run(tree: Path, *arguments: str) -> None:
    """A command of a checkout. Raises CalledProcessError if it fails."""
    source = {"PYTHONPATH": os.pathsep.join([str(tree / "src"), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "patch_forcing", *arguments]
    subprocess.run(command, env=os.environ | source, check=True, stdout=subprocess.DEVNULL)


def sampling(tree: Path, model: str, device: str, work: Path) -> Times:
    """Milliseconds of forward passes and of whole runs of samplers."""
    run(tree, "bench", "speed", model, "--device", device, "--out", str(work / "speed.json"))
    rows = json.loads((work / "speed.json").read_text(encoding="utf-8"))["rows"]
    return {
        f"{model} {row['what']}": 1e3 * statistics.median(row["timing"]["seconds"]) for row in rows
    }


def training(tree: Path, size: str, times: str, steps: int, device: str, work: Path) -> Times:
    """Milliseconds of a training step, the median over the second half of a short run."""
    width, depth, heads, batch = TRAINED[size]
    out = Path(tempfile.mkdtemp(dir=work))
    options = {
        "data.path": work / "images",
        "out": out / "run",
        "network.patch-size": 2,
        "network.hidden-size": width,
        "network.depth": depth,
        "network.num-heads": heads,
        "batch-size": batch,
        "timesteps": times,
        "steps": steps,
        "log-every": max(1, steps // 12),
        "sample-every": 0,
        "snapshot-every": 0,
        "checkpoint-every": steps,
        "precision": "bf16",
        "device": device,
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    run(tree, "train", "folder", *words, "--compile" if device == "cuda" else "--no-compile")
    lines = (out / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    speeds = [json.loads(line)["images_per_second"] for line in lines]
    return {f"{size} training step, {times}": 1e3 * batch / statistics.median(speeds[6:])}


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
    parser.add_argument("--steps", type=int, default=240, help="of each training")
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    trees = {"before": options.before.resolve(), "after": ROOT}
    measured: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_images(work / "images")
        for turn in range(options.turns):
            for name in sorted(trees, reverse=turn % 2 == 0):
                times: Times = {}
                for model in options.models:
                    times |= sampling(trees[name], model, options.device, work)
                for size in options.train:
                    for kind in options.timesteps:
                        tree = trees[name]
                        times |= training(tree, size, kind, options.steps, options.device, work)
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
