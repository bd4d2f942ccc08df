"""How long each command takes to answer help, and a mistake.

    python -m benchmarks.latency.run            # docs/results/latency.json

Each command is a process of its own, started five times; the median counts. `import torch` stands
beside, which an answer does not wait for. Each number is a pair: seconds by the clock, which
mean something on an idle machine alone, and of processor time.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common.record import RESULTS, ROOT, provenance, write_json

REPEATS = 5
MISTAKES = {
    "train": ["train", "folder", "--data.path", "nowhere"],
    "info": ["info", "nowhere"],
    "sample": ["sample", "nowhere"],
    "demo": ["demo", "--model", "nowhere"],
    "bench samplers": ["bench", "samplers", "nowhere"],
    "bench speed": ["bench", "speed", "nowhere"],
    "bench grid": ["bench", "grid", "nowhere"],
    "encode": ["encode", "nowhere", "--autoencoder", "pixels", "--out", "out"],
    "data": ["data", "shards", "nowhere"],
    "ema": ["ema", "nowhere", "--width", "0.1", "--out", "out"],
    "convert": ["convert", "nowhere.pt", "--out", "out"],
    "plot": ["plot", "nowhere"],
    "resume": ["resume", "nowhere"],
    "edit": ["edit", "nowhere", "image.png"],
    "evaluate": ["evaluate", "nowhere", "--reference", "emoji"],
    "push": ["push", "nowhere", "owner/name"],
    "studio": ["studio", "nowhere"],
    "doctor": ["doctor", "nowhere"],
    "sample: class": ["sample", "emoji-64", "--labels", "cta"],
}
"""A mistake of each command: what it names is not there."""
HELP = {
    "train": ["train", "folder"],
    "encode": ["encode", "."],
    "data": ["data", "shards"],
    "sample: class": ["sample"],
}
"""Commands whose page of options needs more than their name."""


def seconds(command: list[str], status: int, folder: Path) -> tuple[float, float]:
    """Medians of REPEATS processes: by the clock, and of processor time.

    Raises RuntimeError if one ends with another status.
    """
    clock, processor = [], []
    for _ in range(REPEATS):
        begun, used = time.perf_counter(), os.times()
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        clock.append(time.perf_counter() - begun)
        after = os.times()
        processor.append(sum(after[2:4]) - sum(used[2:4]))  # of child processes
        if run.returncode != status:
            raise RuntimeError(f"{command} ended with {run.returncode}: {run.stderr}")
    return round(statistics.median(clock), 3), round(statistics.median(processor), 3)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / RESULTS / "latency.json")
    out: Path = parser.parse_args().out
    command = [sys.executable, "-m", "patch_forcing"]
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for title, mistake in MISTAKES.items():
            page = [*HELP.get(title, title.split()), "--help"]
            row = {
                "command": title,
                "help": seconds([*command, *page], 0, folder),
                "mistake": seconds([*command, *mistake], 2, folder),
            }
            rows.append(row)
            print(json.dumps(row), flush=True)
        python = seconds([sys.executable, "-c", "pass"], 0, folder)
        torch = seconds([sys.executable, "-c", "import torch"], 0, folder)
    print(f"python {python}, import torch {torch}")
    report = {
        **provenance(__file__, "cpu"),
        "cores": os.cpu_count(),
        "repeats": REPEATS,
        "seconds": ["clock", "processor"],
        "load_average": round(os.getloadavg()[0], 2),
        "rows": rows,
        "python": python,
        "import_torch": torch,
    }
    write_json(out, report)


if __name__ == "__main__":
    main()
