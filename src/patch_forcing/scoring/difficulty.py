"""Does a model know where it errs: predicted variance against squared error, by time."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from patch_forcing.core.calibration import BINS, PatchErrors, calibration, network_errors
from patch_forcing.core.errors import UserError, check_range
from patch_forcing.core.random import CountedGenerator
from patch_forcing.core.registry import build
from patch_forcing.core.time import PatchTime
from patch_forcing.core.timesteps import TIMESTEPS, TimestepSampler
from patch_forcing.evaluation.calibration import Fit, dead_head, fits_by_time
from patch_forcing.evaluation.estimate import Estimate
from patch_forcing.generation.pipeline import Pipeline
from patch_forcing.io.atomic import write_atomic
from patch_forcing.io.provenance import origin
from patch_forcing.scoring.clean_images import CleanImages
from patch_forcing.scoring.clean_options import MAX_BINS
from patch_forcing.scoring.evaluation import estimate_row
from patch_forcing.views.progress import progress_bar
from patch_forcing.views.reliability import reliability_chart

KIND, FORMAT_VERSION = "difficulty", 1
EVENLY = "shared, even in each bin"


@dataclass(frozen=True)
class DifficultyReport:
    """What was measured, as JSON has it."""

    record: Mapping[str, Any]

    @property
    def warning(self) -> str | None:
        """One line if the head is dead."""
        dead: str | None = self.record["dead"]
        if dead is None:
            return None
        return f"the difficulty head is dead: {dead}; adaptive samplers will not profit"

    def markdown(self) -> str:
        """What was measured, and a table with one row for each bin of time, and one for all."""
        head = ["t", "predicted", "true", "true / predicted", "rank correlation"]
        rows = [[*head, "calibration error", "by chance"]]
        rows.append(["---"] * len(rows[0]))
        rows += [
            [f"{row['low']:.4g} … {row['high']:.4g}", *_cells(row)]
            for row in self.record["by_time"]
        ]
        rows.append(["all", *_cells(self.record["overall"])])
        return "\n".join([self.title, "", *(f"| {' | '.join(row)} |" for row in rows)])

    def save(self, path: Path) -> None:
        """Writes the record as JSON."""
        write_atomic(path, json.dumps(self.record, indent=1) + "\n")

    def write_table(self, path: Path) -> None:
        """Writes the table."""
        write_atomic(path, self.markdown() + "\n")

    def draw(self, path: Path) -> None:
        """Draws the chart into a PNG. Call `views.charts.can_draw` first."""
        path.parent.mkdir(parents=True, exist_ok=True)
        reliability_chart(self.record["by_time"], self.title, path)

    @property
    def title(self) -> str:
        """What was measured, in a few words."""
        record = self.record
        return f"{record['model']}, {record['n']} images of {record['data']['name']}"


def measure_difficulty(
    pipe: Pipeline,
    images: CleanImages,
    *,
    bins: int = BINS,
    timesteps: str | None = None,
    seed: int = 0,
    batch_size: int = 64,
    progress: bool | None = False,
) -> DifficultyReport:
    """Noise the images at as many times as there are bins, and compare.

    bins: equal parts of 0 ≤ t ≤ 1. timesteps: a distribution of training, such as ltg; None: all
    patches of an image share a time, which lies anywhere in the first bin, in the second, ….
    seed: of noise and times. Raises UserError, before any image is read, for a model that predicts
    no variance; and for one that predicts what is no number.
    """
    check_predicts(pipe)
    check_range("bins", bins, 1, MAX_BINS, whole=True)
    parts = []
    with progress_bar(progress, total=images.count * bins, unit="evaluation") as bar:
        for places, x_1, condition in images.batches(batch_size):
            counted = CountedGenerator(seed, torch.tensor([*places]), device=x_1.device)
            looks = []
            for number in range(bins):
                draws = counted.fork(f"difficulty {number}")
                t = _times(pipe, draws, len(places), number / bins, 1 / bins, timesteps)
                x_0 = draws.fork("noise").normal(*x_1.shape[1:])
                looks.append(network_errors(pipe.model, x_1, x_0, t, condition).cpu())
                bar.update(len(places))
            parts.append(PatchErrors.joined(looks, dim=1))
    errors = PatchErrors.joined(parts, dim=0)
    if not all(part.isfinite().all() for part in errors if part is not None):
        raise UserError(f"{pipe.name} predicts NaN or infinity: take an earlier checkpoint of it")
    return DifficultyReport(_record(pipe, images, errors, bins, timesteps, seed))


def check_predicts(pipe: Pipeline) -> None:
    """Raises UserError unless the model has a difficulty head."""
    if not pipe.model.config.predict_difficulty:
        raise UserError(f"{pipe.name} predicts no difficulty: choose a model trained to do so")


def _times(
    pipe: Pipeline,
    draws: CountedGenerator,
    batch: int,
    start: float,
    width: float,
    timesteps: str | None,
) -> PatchTime:
    patches = pipe.model.config.num_patches
    if timesteps is None:
        t = (start + width * draws.fork("timesteps").uniform()).clamp(max=1)
        return PatchTime.shared(t, patches)
    sampler: TimestepSampler = build("timesteps", TIMESTEPS, timesteps)
    device = pipe.model.pos_embed.device
    return sampler(batch, patches, generator=draws.fork("timesteps"), device=device)


def _record(
    pipe: Pipeline,
    images: CleanImages,
    errors: PatchErrors,
    bins: int,
    timesteps: str | None,
    seed: int,
) -> dict[str, Any]:
    overall, by_time = fits_by_time(errors, bins)
    training = calibration(errors)
    assert training is not None
    return {
        "kind": KIND,
        "format_version": FORMAT_VERSION,
        "model": pipe.name,
        "model_hash": pipe.hash,
        "precision": pipe.precision,
        "data": images.recipe(),
        "n": images.count,
        "patches": pipe.model.config.num_patches,
        "seed": seed,
        "times": timesteps or EVENLY,
        "bins": bins,
        "unit": "squared error of one number of the velocity, mean over a patch",
        "interval": "95 %, over other images and noise",
        "overall": _fit_row(overall),
        "by_time": [{"low": row.low, "high": row.high, **_fit_row(row.fit)} for row in by_time],
        "as_in_training": {
            f"difficulty_{name}": value if math.isfinite(value) else None
            for name, value in training._asdict().items()
        },
        "dead": dead_head(overall),
        **origin(pipe.model.pos_embed.device),
    }


def _fit_row(fit: Fit) -> dict[str, Any]:
    """A fit as a record has it."""
    row = dict(vars(fit))
    for name, value in row.items():
        if isinstance(value, Estimate):
            row[name] = estimate_row(value)
    # an error is never below 0, whatever the deviation of its estimate
    row["calibration_error"]["low"] = max(0.0, row["calibration_error"]["low"])
    levels = row.pop("levels")
    return row | ({"levels": [level._asdict() for level in levels]} if levels else {})


def _cells(row: Mapping[str, Any]) -> list[str]:
    def shown(name: str, digits: int) -> str:
        value = row[name]
        if value is None:
            return ""
        low, high = (f"{value[end]:.{digits}f}" for end in ("low", "high"))
        return f"{value['value']:.{digits}f} ({low} … {high})"

    return [
        f"{row['predicted']:.3g}",
        f"{row['true']:.3g}",
        shown("ratio", 2),
        shown("rank_correlation", 2),
        shown("calibration_error", 3),
        f"{row['by_chance']:.3f}",
    ]
