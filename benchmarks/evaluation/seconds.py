"""How long scoring takes → docs/results/evaluation-seconds.json.

    python -m benchmarks.evaluation.seconds        # some minutes on idle cores

Arrays of 10,000 images of 64×64 pixels are measured by the command that users type: against the
statistics that come with the emoji network, against the same number of images, and of fewer images
by a network of photographs. What the images show does not change the time.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.common.options import command_line
from benchmarks.common.record import Row, provenance, write_json

COUNT, SIZE, FEWER = 10_000, 64, 1000


def main() -> None:
    """Write arrays, run the commands, write the file."""
    options = command_line(
        __doc__, out="docs/results/evaluation-seconds.json", device=False
    ).parse_args()
    about = provenance(__file__, "cpu")
    with tempfile.TemporaryDirectory() as folder:
        places = {name: Path(folder, f"{name}.npz") for name in ("samples", "real")}
        for seed, place in enumerate(places.values()):
            np.savez(place, pictures(COUNT, seed))
        emoji = ["--features", "emoji"]
        photographs = ["--features", "efficientnet-lite0", "--count", str(FEWER)]
        few = Path(folder, "few.npz")
        np.savez(few, pictures(FEWER, 2))
        rows = [
            timed("statistics", places["samples"], "emoji", *emoji),
            timed("images", places["samples"], places["real"], *emoji),
            timed("photographs", places["samples"], few, *photographs),
        ]
    write_json(options.out, about | {"rows": rows})


def pictures(count: int, seed: int) -> np.ndarray:
    """(N, 64, 64, 3): coarse patches, so that the network sees them apart."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (count, 8, 8, 3), np.uint8)
    return coarse.repeat(SIZE // 8, axis=1).repeat(SIZE // 8, axis=2)


def timed(name: str, samples: Path, reference: str | Path, *options: str) -> Row:
    """Seconds of the command, start included, and what it says of its parts."""
    command = [sys.executable, "-m", "patch_forcing", "evaluate", str(samples)]
    before, started = os.getloadavg()[0], time.perf_counter()
    made = subprocess.run(
        [*command, "--reference", str(reference), *options, "--device", "cpu"],
        check=True,
        stdout=subprocess.PIPE,
    )
    seconds = time.perf_counter() - started
    record = json.loads(made.stdout)
    row = {
        "what": name,
        "n": record["n"],
        "n_reference": record["reference"]["n"],
        "features": record["results"][0]["features"],
        "metrics": list(record["results"][0]["metrics"]),
        "seconds": round(seconds, 1),
        "parts": record["seconds"],
        "load_before": round(before, 2),
    }
    print(row, flush=True)
    return row


if __name__ == "__main__":
    main()
