"""The digits recipe, measured: does it train in time, and are its samples the digits asked for?

    python benchmarks/digits.py --out docs/results/digits.json

Trains the recipe with the command that users type (or takes --run), then draws 500 samples, 50 a
class, with every sampler at equal numbers of evaluations, and asks a classifier that has seen only
real scans.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC

from patch_forcing.io.provenance import commit, hardware, versions
from patch_forcing.runs.pipeline import Pipeline, load
from patch_forcing.sampling.samplers import SAMPLERS

PER_CLASS, REPEATS = 50, 3
BUDGETS = (8, 16, 24, 48)
GUIDANCE = (1.0, 2.0)


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


def accuracy(classifier: SVC, pipe: Pipeline, sampler: str, nfe: float, guidance: float) -> dict:
    """Share of samples read as the digit asked for, with seconds: the median of the repeats."""
    labels = [label for label in range(10) for _ in range(PER_CLASS)]
    runs = [
        pipe(
            labels,
            range(len(labels)),
            sampler=sampler,
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
        "seconds": round(statistics.median(run.seconds for run in runs), 2),
    }


def main() -> None:
    """Train, sample, classify, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--run", type=Path, help="a run folder or bundled name, in place of training"
    )
    parser.add_argument("--out", type=Path, default=Path("digits.json"))
    options = parser.parse_args()
    real = load_digits()
    classifier = SVC(gamma=0.001, C=10)
    held_out = cross_val_score(classifier, real.data, real.target, cv=5).mean()
    classifier.fit(real.data, real.target)
    with tempfile.TemporaryDirectory() as folder:
        run = options.run or Path(folder) / "run"
        training = None if options.run else train(run)
        pipe = load(run)
    rows = [
        accuracy(classifier, pipe, sampler, budget, guidance)
        for guidance in GUIDANCE
        for budget in BUDGETS
        for sampler in SAMPLERS
        if budget >= 4 * guidance  # dual-loop takes four calls a step
    ]
    report = {
        "command": "python benchmarks/digits.py",
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "versions": versions(),
        "hardware": hardware("cpu"),
        "model_hash": pipe.hash,
        "samples": 10 * PER_CLASS,
        "repeats": REPEATS,
        "classifier": {"name": "SVC(gamma=0.001, C=10)", "held_out_accuracy": round(held_out, 4)},
        "training": training,
        "rows": rows,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if training:
        print(f"training: {training['seconds']} s, {training['peak_gib']} GiB")
    print(f"{'sampler':<14}{'guidance':>9}{'nfe':>6}{'accuracy':>10}{'seconds':>9}")
    for row in rows:
        print(
            f"{row['sampler']:<14}{row['guidance']:>9g}{row['nfe']:>6g}"
            f"{row['accuracy']:>10.1%}{row['seconds']:>9.2f}"
        )


if __name__ == "__main__":
    main()
