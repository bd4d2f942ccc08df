"""The digits recipe, measured: does it train in time, and do its samples show their labels?

    GOMP_SPINCOUNT=10000 python -m benchmarks.digits.run --out docs/results/digits.json

Trains the recipe with the command that users type (or takes --run), then draws 500 samples, 50 a
class, with every sampler at equal numbers of evaluations, and shows them to a classifier that has
seen only real scans.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC
from torch import Tensor

from benchmarks.common.options import command_line
from benchmarks.common.record import Row, provenance, write_json
from patch_forcing.features.statistics import FeatureStatistics
from patch_forcing.generation.pipeline import Pipeline, load
from patch_forcing.sampling.samplers import SAMPLERS
from patch_forcing.scoring.measuring import Side, measure_vectors

PER_CLASS, REPEATS = 50, 3
SETTINGS = [(8, 1.0), (16, 1.0), (48, 1.0), (48, 2.0)]
"""Budgets of evaluations, and guidance scales."""


def train(run: Path) -> dict[str, float]:
    """Seconds and peak memory of `patch-forcing train digits`, as the system counts them."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "patch_forcing", "train", "digits", "--out", str(run)]
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit("training failed")
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "peak_gib": round(usage.ru_maxrss / 2**20, 2),
    }


class Scans:
    """What the distance compares: the pixels of a scan, 0 … 16."""

    name, size = "pixels of scans", None

    def features(self, images: Tensor) -> Tensor:
        """(B, 64) of grey images in [−1, 1]."""
        return (images.mean(1).flatten(1) + 1) * 8

    def to(self, device: torch.device | str) -> "Scans":
        """The same: it has no weights."""
        return self


def frechet_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Of two sets of scans, (M, 64), in their pixels. Corners never hold ink, so it is singular."""
    real = Side(statistics=FeatureStatistics.of(torch.from_numpy(other)))
    return measure_vectors(Scans(), torch.from_numpy(one), real, "fd")["fd"].value


def measure(
    classifier: SVC, real: np.ndarray, pipe: Pipeline, sampler: str, nfe: float, guidance: float
) -> Row:
    """Share of samples read as their labels, and distance of their pixels from the scans'.

    Accuracy alone would reward averages, which are easy to read and all alike. Seconds are the
    median of the repeats.
    """
    labels = [label for label in range(10) for _ in range(PER_CLASS)]
    runs = [
        pipe(
            labels,
            range(len(labels)),
            sampler=SAMPLERS[sampler](),  # with its usual settings, whatever the budget
            nfe=nfe,
            guidance_scale=guidance,
            batch_size=len(labels),
        )
        for _ in range(REPEATS)
    ]
    scans = runs[0].pixels.numpy().reshape(len(labels), 64) / 255 * 16
    return {
        "sampler": sampler,
        "guidance": guidance,
        "budget": nfe,
        "nfe": runs[0].nfe,
        "accuracy": float(np.mean(classifier.predict(scans) == np.array(labels))),
        "frechet_distance": round(frechet_distance(scans, real), 1),
        "seconds": round(statistics.median(run.seconds for run in runs), 2),
    }


def main() -> None:
    """Train, sample, classify, report."""
    parser = command_line(__doc__, out="digits.json", device=False)
    parser.add_argument(
        "--run", type=Path, help="a run folder or bundled name, in place of training"
    )
    options = parser.parse_args()
    about = provenance(__file__, "cpu")
    about["command"] = f"GOMP_SPINCOUNT=10000 {about['command']}"
    real = load_digits()
    classifier = SVC(gamma=0.001, C=10)
    held_out = cross_val_score(classifier, real.data, real.target, cv=5).mean()
    classifier.fit(real.data, real.target)
    with tempfile.TemporaryDirectory() as folder:
        run = options.run or Path(folder) / "run"
        training = None if options.run else train(run)
        pipe = load(run)
    rows = [
        measure(classifier, real.data, pipe, sampler, budget, guidance)
        for budget, guidance in SETTINGS
        for sampler in SAMPLERS
    ]
    half = np.random.default_rng(0).permutation(len(real.data)) < 10 * PER_CLASS
    floor = frechet_distance(real.data[half], real.data[~half])
    report = {
        **about,
        "model_hash": pipe.hash,
        "samples": 10 * PER_CLASS,
        "repeats": REPEATS,
        "classifier": {"name": "SVC(gamma=0.001, C=10)", "held_out_accuracy": round(held_out, 4)},
        "frechet_floor": {"what": "500 scans against the others", "distance": round(floor, 1)},
        "training": training,
        "rows": rows,
    }
    write_json(options.out, report)
    show(report)


def show(report: Row) -> None:
    """The report for a terminal."""
    if training := report["training"]:
        print(f"training: {training['seconds']} s, {training['peak_gib']} GiB")
    print(f"real against real: FD {report['frechet_floor']['distance']}")
    print(f"{'sampler':<14}{'guidance':>9}{'nfe':>6}{'accuracy':>10}{'FD':>8}{'seconds':>9}")
    for row in report["rows"]:
        print(
            f"{row['sampler']:<14}{row['guidance']:>9g}{row['nfe']:>6g}"
            f"{row['accuracy']:>10.1%}{row['frechet_distance']:>8.1f}{row['seconds']:>9.2f}"
        )


if __name__ == "__main__":
    main()
