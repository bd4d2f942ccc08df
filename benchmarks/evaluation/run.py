"""How often intervals hold, and the same features by others → docs/results/evaluation.json.

python -m benchmarks.evaluation.run        # minutes; needs torch-fidelity, prdc and scipy
"""

import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy import linalg
from sklearn.metrics.pairwise import rbf_kernel
from torch import Tensor

from benchmarks.common.options import command_line
from benchmarks.common.record import write_json
from patch_forcing.evaluation.estimate import Estimate, critical, standard_error
from patch_forcing.evaluation.frechet import FrechetDistance
from patch_forcing.evaluation.inception_score import inception_score
from patch_forcing.evaluation.kernel import clip_distance, kernel_distance
from patch_forcing.evaluation.neighbours import coverage, density, precision, recall
from patch_forcing.features.statistics import FeatureStatistics
from patch_forcing.io.provenance import origin

RUNS, WIDTH = 400, 8
_draws = torch.Generator().manual_seed(0)
MIXING = torch.eye(WIDTH) + torch.randn(WIDTH, WIDTH, generator=_draws) / 3


def main() -> None:
    """Write the file."""
    out = command_line(__doc__, out="docs/results/evaluation.json", device=False).parse_args().out
    numbers = {"runs": RUNS, "coverage": intervals(), "paired": pairs(), "parity": parity()}
    write_json(out, numbers | origin("cpu"))


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=_draws)


def intervals() -> list[dict[str, Any]]:
    """Shares of simulations whose interval holds the mean of all of them."""
    real = normal(4000, WIDTH)
    distance = FrechetDistance(FeatureStatistics.of(real))
    wide = FrechetDistance(FeatureStatistics.of(normal(4000, 4 * WIDTH)))
    few = real[:200]
    ways: list[tuple[str, int, int, Callable[[Tensor], Estimate]]] = [
        ("fd", 20, 4 * WIDTH, wide),
        ("fd", 50, WIDTH, distance),
        ("fd", 200, WIDTH, distance),
        ("fd", 1000, WIDTH, distance),
        ("fd-infinity", 200, WIDTH, distance.at_infinity),
        ("kid", 200, WIDTH, lambda x: kernel_distance(few, x)),
        ("is", 200, WIDTH, lambda x: inception_score(x.softmax(1))),
        ("precision", 200, WIDTH, lambda x: precision(few, x)),
        ("recall", 200, WIDTH, lambda x: recall(few, x)),
        ("recall", 1000, WIDTH, lambda x: recall(few, x)),
        ("density", 200, WIDTH, lambda x: density(few, x)),
        ("coverage", 200, WIDTH, lambda x: coverage(few, x)),
        ("cmmd", 200, WIDTH, lambda x: clip_distance(few, x)),
    ]
    rows = []
    for metric, count, width, measure in ways:
        mixing = torch.block_diag(*[MIXING] * (width // WIDTH))
        apart, same = (
            held([measure(normal(count, width) @ m + s) for _ in range(RUNS)])
            for m, s in ((mixing, 0.3), (torch.eye(width), 0.0))
        )
        rows.append({"metric": metric, "n": count, "width": width, "apart": apart, "same": same})
    return rows


def held(estimates: list[Estimate]) -> float:
    """The share of intervals that hold the mean."""
    mean = sum(estimate.value for estimate in estimates) / len(estimates)
    inside = [low <= mean <= high for low, high in (e.interval for e in estimates)]
    return sum(inside) / len(inside)


def pairs(count: int = 100) -> dict[str, float]:
    """The difference of two samplers that make almost the same of each seed."""
    distance = FrechetDistance(FeatureStatistics.of(normal(4000, WIDTH)))
    rows = []
    for _ in range(RUNS):
        z = normal(count, WIDTH)
        first, second = distance(z @ MIXING + 0.3), distance(z @ MIXING * 0.9 + 0.2)
        error = standard_error(second.deviations - first.deviations)
        rows.append((second.value - first.value, error, math.hypot(first.error, second.error)))
    values, errors, apart = (np.array(column) for column in zip(*rows, strict=True))
    inside = np.abs(values - values.mean()) <= critical(count) * errors
    return {
        "n": count,
        "held": float(inside.mean()),
        "narrower": float(apart.mean() / errors.mean()),
    }


def parity() -> list[dict[str, Any]]:
    """The same features by formulas of others."""
    fid, kid, isc, prc = (
        importlib.import_module(f"torch_fidelity.metric_{name}")
        for name in ("fid", "kid", "isc", "prc")
    )
    real, sampled = normal(300, WIDTH) @ MIXING, normal(300, WIDTH)
    ours = FrechetDistance(FeatureStatistics.of(real))(sampled).value
    moments = [fid.fid_features_to_statistics(part) for part in (sampled, real)]
    theirs = fid.fid_statistics_to_metric(*moments, False)["frechet_inception_distance"]
    kernel = kid.kid_features_to_metric(
        sampled, real, kid_subsets=1, kid_subset_size=300, verbose=False
    )["kernel_inception_distance_mean"]
    score = isc.isc_features_to_metric(sampled, splits=1, shuffle=False)["inception_score_mean"]
    near = prc.prc_features_to_metric(sampled, real, prc_neighborhood=3, verbose=False)
    balls = importlib.import_module("prdc").compute_prdc(real.numpy(), sampled.numpy(), 5)
    wide_real, wide = normal(300, 32), normal(20, 32) + 0.3
    of_few = FrechetDistance(FeatureStatistics.of(wide_real))(wide).value
    by = "torch-fidelity"
    rows = [
        ("fd", ours, adm(sampled, real), "ADM's formula, scipy.linalg.sqrtm"),
        ("fd", ours, theirs, by),
        ("fd, fewer images than features", of_few, adm(wide, wide_real), "ADM's formula"),
        ("kid", kernel_distance(real, sampled).value, kernel, f"{by}, one subset of all"),
        ("is", inception_score(sampled.softmax(1)).value, score, f"{by}, one split"),
        ("precision", precision(real, sampled).value, near["precision"], by),
        ("recall", recall(real, sampled).value, near["recall"], by),
        ("density", density(real, sampled).value, balls["density"], "prdc"),
        ("coverage", coverage(real, sampled).value, balls["coverage"], "prdc"),
        ("cmmd", clip_distance(real, sampled).value, gaussian(real, sampled), "scikit-learn"),
    ]
    return [
        {"metric": metric, "ours": float(here), "theirs": float(there), "by": who}
        for metric, here, there, who in rows
    ]


def adm(sampled: Tensor, real: Tensor) -> float:
    """FID as ADM's evaluator writes it."""
    a, b = sampled.double().numpy(), real.double().numpy()
    mean, first, second = a.mean(0) - b.mean(0), np.cov(a.T), np.cov(b.T)
    root = linalg.sqrtm(first @ second).real
    return float(mean @ mean + np.trace(first) + np.trace(second) - 2 * np.trace(root))


def gaussian(real: Tensor, sampled: Tensor) -> float:
    """CMMD by scikit-learn's kernel."""
    a, b = (part.double().numpy() for part in (real, sampled))
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    kernels = [rbf_kernel(x, y, gamma=1 / 200).mean() for x, y in ((a, a), (b, b), (a, b))]
    return float(1000 * (kernels[0] + kernels[1] - 2 * kernels[2]))


if __name__ == "__main__":
    main()
