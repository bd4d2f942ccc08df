"""Quality against cost as a table, as JSON and as a chart."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from patch_forcing.generation.pipeline import Pipeline
from patch_forcing.io.atomic import write_atomic
from patch_forcing.io.provenance import commit, hardware, versions
from patch_forcing.scoring.front import Point, Question
from patch_forcing.views.charts import line_charts


def table_head(question: Question) -> str:
    """The names of a row's columns."""
    measured = question.features is not None
    return f"{'':40}{'NFE':>8}{'ms/image':>10}{'error':>8}" + f"{'FD':>9}{'read':>8}" * measured


def table_row(point: Point, question: Question) -> str:
    """A sampler at a budget, below the head."""
    row = f"{point.settings:40}{point.nfe:8.4g}{_milliseconds(point, question):10.2f}"
    row += f"{point.error:8.2f}"
    if point.fd is not None and point.accuracy is not None:
        row += f"{point.fd:9.2f}{point.accuracy:8.1%}"
    return row


def write_report(
    points: Sequence[Point], question: Question, pipe: Pipeline, device: str, file: Path
) -> None:
    """All numbers, what they were measured at and where they come from, as JSON."""
    report = {
        "model": pipe.name,
        "model_hash": pipe.hash,
        "images": question.count,
        "grid": question.request.time_grid,
        "guidance": question.request.guidance_scale,
        "guidance_interval": question.request.guidance_interval,
        "points": [asdict(point) for point in points],
        "hardware": hardware(device),
        "versions": versions(),
        "commit": commit(),
    }
    write_atomic(file, json.dumps(report, indent=1) + "\n")


def draw_report(points: Sequence[Point], question: Question, file: Path) -> None:
    """A curve for each sampler, against evaluations and against time, into a PNG.

    Ask `can_draw` first.
    """
    evaluations: dict[str, list[tuple[float, float]]] = defaultdict(list)
    times: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for point in points:
        quality = point.error if point.fd is None else point.fd
        evaluations[point.sampler].append((point.nfe, quality))
        times[point.sampler].append((_milliseconds(point, question), quality))
    panels = [("network evaluations", evaluations), ("ms per image", times)]
    line_charts(panels, "error" if question.features is None else "Fréchet distance", file)


def _milliseconds(point: Point, question: Question) -> float:
    return 1e3 * point.seconds / question.count
