"""Does a proxy of difficulty tell where a model errs: on clean images, by time.

A proxy is no variance. So in each bin of time it is scaled to the mean of the squared errors there,
and what is left is its order and its shape. The mathematics: `evaluation/calibration.py`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from patch_forcing.core.calibration import BINS, PatchErrors, patch_errors, time_bin
from patch_forcing.core.errors import UserError, check_range, unknown_name
from patch_forcing.core.output import Network
from patch_forcing.core.patch_grid import patch_grid
from patch_forcing.core.path import LinearPath
from patch_forcing.core.random import CountedGenerator
from patch_forcing.core.time import PatchTime
from patch_forcing.evaluation.calibration import Fit, dead_head, fits_by_time
from patch_forcing.evaluation.estimate import Estimate
from patch_forcing.hosts.proxies import PROXIES
from patch_forcing.io.atomic import write_atomic
from patch_forcing.io.provenance import origin
from patch_forcing.sampling.field import VelocityField
from patch_forcing.sampling.guidance import Guidance

HEAD = "head"
"""The model's own difficulty, beside the proxies."""
_LEAST = 1e-30


@dataclass(frozen=True)
class ProxyReport:
    """How well each proxy follows the errors of a model, as JSON has it."""

    record: Mapping[str, Any]

    @property
    def warnings(self) -> list[str]:
        """One line for each proxy that samplers cannot go by."""
        return [
            f"{name}: {row['dead']}" for name, row in self.record["proxies"].items() if row["dead"]
        ]

    def markdown(self) -> str:
        """Rank correlations within an image, with 95 % intervals: a row for each bin of time."""
        proxies = self.record["proxies"]
        rows = [["t", "squared error", *proxies], ["---"] * (2 + len(proxies))]
        first = next(iter(proxies.values()))
        for number, row in enumerate(first["by_time"]):
            columns = [_correlation(proxy["by_time"][number]) for proxy in proxies.values()]
            rows.append([f"{row['low']:.2g} … {row['high']:.2g}", f"{row['true']:.3g}", *columns])
        columns = [_correlation(proxy["overall"]) for proxy in proxies.values()]
        rows.append(["all", f"{first['overall']['true']:.3g}", *columns])
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)

    def save(self, path: str | Path) -> None:
        """Writes the record as JSON."""
        write_atomic(Path(path), json.dumps(self.record, indent=1) + "\n")


@torch.no_grad()
def calibrate(
    model: Network,
    x_1: Float[Tensor, "n C H W"],
    condition: Shaped[Tensor, "n ..."] | None = None,
    *,
    guidance: Guidance | None = None,
    proxies: tuple[str, ...] | None = None,
    bins: int = BINS,
    step: float = 1 / 24,
    batch_size: int = 16,
    seed: int = 0,
) -> ProxyReport:
    """Squared velocity errors of a model at noised x_1, and what each proxy says of them.

    In each bin of time an image is seen at a time t within it, and a step before, where the model's
    own velocity at t leads back to: two evaluations an image and bin, guidance counted double.
    Errors are of the conditional velocity at t.

    x_1: clean images, or latents as the model sees them; not those it was trained on.
    proxies: names; None: all that apply, and the model's own difficulty if it predicts one.
    step: between the two evaluations, as in the sampling that the proxies are for.
    Raises UserError for fewer than two images, for an unknown name, and for a proxy that does not
    apply.
    """
    check_range("step", step, above=0, high=1)
    check_range("bins", bins, 1, 100, whole=True)
    check_range("batch_size", batch_size, 1, whole=True)
    names = _names(proxies, guidance is not None)
    looks = []
    for places in torch.arange(len(x_1)).split(batch_size):
        rows = None if condition is None else condition[places.to(condition.device)]
        own = None if guidance is None else guidance.for_images(places, device=x_1.device)
        field = VelocityField(model, rows, own)
        numbers = CountedGenerator(seed, places, device=x_1.device)
        looks.append(_look(field, x_1[places.to(x_1.device)], numbers, bins, step, names))
    there = [name for name in names if name in looks[0]]
    if proxies is not None and HEAD in proxies and HEAD not in there:
        raise UserError("the model predicts no difficulty: leave head out of the proxies")
    errors = {name: PatchErrors.joined([look[name] for look in looks], dim=0) for name in there}
    if not all(of.error.isfinite().all() for of in errors.values()):
        raise UserError("the model predicts NaN or infinity: check its weights and precision")
    record = {
        "kind": "proxies",
        "n": len(x_1),
        "patches": errors[there[0]].error.shape[1] // bins,
        "seed": seed,
        "step": step,
        "guidance": None if guidance is None else guidance.scale,
        "unit": "squared error of one number of the velocity, mean over a patch",
        "interval": "95 %, over other images and noise",
        "proxies": {name: _row(of, bins) for name, of in errors.items()},
        **origin(x_1.device),
    }
    return ProxyReport(record)


def _names(proxies: tuple[str, ...] | None, guided: bool) -> tuple[str, ...]:
    """What is measured where the model can. Raises UserError for an unknown name."""
    if proxies is None:
        return (HEAD, *(name for name in PROXIES if name != "gap" or guided))
    for name in proxies:
        if name != HEAD and name not in PROXIES:
            raise unknown_name("proxy", name, [HEAD, *PROXIES])
    if not proxies:
        raise UserError("no proxies: name one, or leave them out for all")
    return proxies


def _look(
    field: VelocityField,
    x_1: Float[Tensor, "B C H W"],
    numbers: CountedGenerator,
    bins: int,
    step: float,
    names: tuple[str, ...],
) -> dict[str, PatchErrors]:
    """Errors of a batch, all bins, with each proxy that there is as variance."""
    path = LinearPath(field.patch_size)
    rows, cols = patch_grid(x_1.shape[-2:], field.patch_size)
    looks: dict[str, list[PatchErrors]] = {}
    for number in range(bins):
        draws = numbers.fork(f"proxies {number}")
        x_0 = draws.fork("noise").normal(*x_1.shape[1:])
        last = ((number + draws.fork("timesteps").uniform()) / bins).clamp(max=1)
        proxies = {name: PROXIES[name]() for name in names if name != HEAD}
        t = PatchTime.shared(last, rows * cols)
        x_t = path.interpolate(x_0, x_1, t)
        output = field(x_t, t)
        before = PatchTime.shared((last - step).clamp(min=0), rows * cols)
        # back along the model's own velocity: the path would give the proxy the true one
        back = path.spread(before, x_t) - path.spread(t, x_t)
        x_before = x_t + back * output.velocity.float()
        earlier = field(x_before, before)
        for proxy in proxies.values():
            proxy(x_before, before, earlier, field.patch_size)
        values = {name: of(x_t, t, output, field.patch_size) for name, of in proxies.items()}
        if HEAD in names and output.difficulty is not None:
            values[HEAD] = output.difficulty
        target = path.velocity(x_0, x_1)
        errors = patch_errors(output.unguided, None, target, t.to_dense(), field.patch_size)
        for name, value in values.items():
            looks.setdefault(name, []).append(errors._replace(variance=value.float()).cpu())
    return {name: PatchErrors.joined(parts, dim=1) for name, parts in looks.items()}


def _row(errors: PatchErrors, bins: int) -> dict[str, Any]:
    """The fits of one proxy, scaled to the errors of each bin."""
    assert errors.variance is not None
    number = time_bin(errors.t, bins)
    variance, scales = errors.variance.clone(), {}
    for k in number.unique().tolist():
        inside = number == k
        scale = float(errors.error[inside].mean() / variance[inside].mean().clamp(min=_LEAST))
        variance[inside] *= scale
        scales[k] = scale
    variance = variance.clamp(min=_LEAST)
    scaled = errors._replace(variance=variance, standardised=errors.error / variance)
    overall, by_time = fits_by_time(scaled, bins)
    return {
        "overall": _fit(overall),
        "by_time": [
            {"low": row.low, "high": row.high, "scale": scales[k], **_fit(row.fit)}
            for k, row in zip(sorted(scales), by_time, strict=True)
        ],
        "dead": dead_head(overall),
    }


def _fit(fit: Fit) -> dict[str, Any]:
    return {
        "true": fit.true,
        "rank_correlation": _interval(fit.rank_correlation),
        "calibration_error": _interval(fit.calibration_error),
        "by_chance": fit.by_chance,
    }


def _interval(estimate: Estimate | None) -> dict[str, float] | None:
    if estimate is None:
        return None
    low, high = estimate.interval
    return {"value": estimate.value, "low": low, "high": high}


def _correlation(row: Mapping[str, Any]) -> str:
    value = row["rank_correlation"]
    return f"{value['value']:.2f} ({value['low']:.2f} … {value['high']:.2f})" if value else ""
