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
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC

from benchmarks.common.options import command_line
from benchmarks.common.record import Row, provenance, write_json
from patch_forcing.generation.pipeline import Pipeline, load
from patch_forcing.sampling.samplers import SAMPLERS

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


def frechet_distance(one: np.ndarray, other: np.ndarray) -> float:
    """|μ − μ'|² + tr(C + C' − 2·(C·C')^½) of two sets of vectors, as if both were Gaussian.

    Corners of the scans never hold ink, so C is singular; the root is that of C^½·C'·C^½, which
    has the same trace and is symmetric.
    """
    (mean, cov), (mean2, cov2) = ((x.mean(axis=0), np.cov(x, rowvar=False)) for x in (one, other))
    values, vectors = np.linalg.eigh(cov)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    trace = np.sqrt(np.linalg.eigvalsh(root @ cov2 @ root).clip(min=0)).sum()
    return float(((mean - mean2) ** 2).sum() + np.trace(cov) + np.trace(cov2) - 2 * trace)


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
