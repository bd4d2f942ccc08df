"""How long each command takes to answer help, and a mistake.

    python -m benchmarks.latency.run            # docs/results/latency.json

Each command is a process of its own, started five times; the median counts. `import torch` stands
beside, which an answer does not wait for. Run it on an idle machine.
"""

import argparse
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
}
"""A mistake of each command: what it names is not there."""
HELP = {"train": ["train", "folder"], "encode": ["encode", "."], "data": ["data", "shards"]}
"""Commands whose page of options needs more than their name."""


def seconds(command: list[str], status: int, folder: Path) -> float:
    """The median of REPEATS processes. Raises RuntimeError if one ends with another status."""
    times = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        times.append(time.perf_counter() - begun)
        if run.returncode != status:
            raise RuntimeError(f"{command} ended with {run.returncode}: {run.stderr}")
    return round(statistics.median(times), 3)


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
            print(f"{title:16}{row['help']:8.2f} s{row['mistake']:8.2f} s", flush=True)
        python = seconds([sys.executable, "-c", "pass"], 0, folder)
        torch = seconds([sys.executable, "-c", "import torch"], 0, folder)
    print(f"python {python:.2f} s, import torch {torch:.2f} s")
    report = {
        **provenance(__file__, "cpu"),
        "cores": os.cpu_count(),
        "repeats": REPEATS,
        "rows": rows,
        "python": python,
        "import_torch": torch,
    }
    write_json(out, report)


if __name__ == "__main__":
    main()
