"""How fast emoji scenes are composed: training must never wait for them.

    python -m benchmarks.emoji.scenes --atlas data/emoji --out docs/results/emoji/scenes.json

Adds its device to the file; what other devices measured stays.
"""

import argparse
import json
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path

import torch

from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.emoji import EmojiSource
from patch_forcing.io.provenance import commit, hardware, versions

SIZES = (64, 128, 256)
REPEATS = 5


def scenes_per_second(size: int, atlas: str, device: str) -> list[float]:
    """Of batches of 512 on a GPU and of 64 on a CPU, for at least a second each time."""
    data = EmojiSource(path=atlas, size=size).open()
    batch_size, rates = 64 if device == "cpu" else 512, []
    data.batch(BatchSpec(0, batch_size, 0), device)
    for _ in range(REPEATS):
        if device != "cpu":
            torch.cuda.synchronize()
        batches, started = 0, time.perf_counter()
        while time.perf_counter() - started < 1:
            for _ in range(1 if device == "cpu" else 20):
                data.batch(BatchSpec(batches, batch_size, 0), device)
                batches += 1
            if device != "cpu":
                torch.cuda.synchronize()
        rates.append(batches * batch_size / (time.perf_counter() - started))
    return rates


def main() -> None:
    """Measure every size, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--atlas", default="data/emoji")
    parser.add_argument("--out", type=Path, default=Path("docs/results/emoji/scenes.json"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    report = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {}
    rows = {}
    for size in SIZES:
        rates = scenes_per_second(size, options.atlas, options.device)
        rows[f"{size}x{size}"] = {
            "scenes_per_second": round(statistics.median(rates)),
            "repeats": [round(rate) for rate in rates],
        }
        print(f"{size}x{size}: {statistics.median(rates):,.0f} scenes/s")
    report[hardware(options.device)] = {
        "command": "python -m benchmarks.emoji.scenes",
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "versions": versions(),
        "rows": rows,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
