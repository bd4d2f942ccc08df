"""How fast emoji scenes are composed: training must never wait for them.

    python -m benchmarks.emoji.scenes --atlas data/emoji --out docs/results/emoji/scenes.json

Adds its device to the file; what other devices measured stays.
"""

import statistics
import time

import torch

from benchmarks.common.options import command_line
from benchmarks.common.record import provenance, read_json, write_json
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.sources import EmojiSource

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
    parser = command_line(__doc__, "atlas", out="docs/results/emoji/scenes.json")
    options = parser.parse_args()
    report = read_json(options.out, {})
    rows = {}
    for size in SIZES:
        rates = scenes_per_second(size, str(options.atlas), options.device)
        rows[f"{size}x{size}"] = {
            "scenes_per_second": round(statistics.median(rates)),
            "repeats": [round(rate) for rate in rates],
        }
        print(f"{size}x{size}: {statistics.median(rates):,.0f} scenes/s")
    about = provenance(__file__, options.device)
    report[about.pop("hardware")] = {**about, "rows": rows}
    write_json(options.out, report)


if __name__ == "__main__":
    main()
