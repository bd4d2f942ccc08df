"""The curves of trainings in one picture. They need matplotlib: call `charts.can_draw` first.

Over steps, a thick line is the mean over a twentieth of a run's lines around each, and a thin one
goes through every line. By time of patches, a solid line is the mean over the last tenth of the
lines, and a dotted one over the first tenth.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from patch_forcing.views.charts import Curve, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rows = Sequence[Mapping[str, Any]]
"""Lines of metrics.jsonl, each with its step."""
NOTE = (
    "Over steps: thick is the mean over a twentieth of the lines of metrics.jsonl, thin is every "
    "line. By time: solid is the mean over the last tenth of the lines, dotted over the first."
)
CALIBRATED = (0.5, 2.0)
"""Squared error over predicted variance; outside, training warns."""
_WINDOW, _END = 20, 10
_BINS = 10


class Panel(NamedTuple):
    """One chart. fields: of which a run has at least the first if it is in the chart."""

    title: str
    vertical: str
    fields: tuple[str, ...]
    by_time: bool = False
    mark: Callable[["Axes"], None] | None = None


def curve(rows: Rows, field: str) -> Curve:
    """(step, value) of the lines that have a finite value of a field."""
    return [(row["step"], float(row[field])) for row in rows if _is_finite(row.get(field))]


def smoothed(points: Curve) -> Curve:
    """Each value replaced by the mean over an odd number of neighbours, a twentieth of all; over
    fewer at the ends, as many on either side.
    """
    reach = len(points) // (2 * _WINDOW)
    means = []
    for i, (step, _) in enumerate(points):
        side = min(reach, i, len(points) - 1 - i)
        values = [value for _, value in points[i - side : i + side + 1]]
        means.append((step, sum(values) / len(values)))
    return means


def by_time(rows: Rows, prefix: str) -> Curve:
    """(t, mean over the lines) at the middle of each tenth of time that has a value."""
    points = []
    for k in range(_BINS):
        values = [value for _, value in curve(rows, f"{prefix}{k / _BINS:.1f}")]
        if values:
            points.append(((k + 0.5) / _BINS, sum(values) / len(values)))
    return points


def training_curves(runs: Mapping[str, Rows], path: Path) -> None:
    """Draws the panels of which any run has values, three in a row, into a PNG.

    runs: the lines of each, by the name that the legend has.
    """
    from matplotlib.figure import Figure

    panels = [panel for panel in _panels() if any(_has(rows, panel) for rows in runs.values())]
    columns = min(3, max(1, len(panels)))
    count = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(4.6 * columns, 3.5 * count + 0.9), layout="constrained")
    grid = figure.subplots(count, columns, squeeze=False).flat
    for axes, panel in zip(grid, panels, strict=False):
        for number, rows in enumerate(runs.values()):
            draw = _draw_by_time if panel.by_time else _draw_over_steps
            draw(axes, rows, panel, f"C{number % 10}")
        if panel.mark is not None:
            panel.mark(axes)
        horizontal = "time t of patches: 0 is noise, 1 is the image" if panel.by_time else "step"
        axes.set(title=panel.title, ylabel=panel.vertical, xlabel=horizontal)
        axes.grid(alpha=0.3)
        if panel.by_time:
            axes.set_xlim(0, 1)
    for axes in list(figure.axes)[len(panels) :]:
        axes.set_axis_off()
    lines = [figure.axes[0].plot([], [], color=f"C{n % 10}", lw=2)[0] for n in range(len(runs))]
    figure.legend(lines, list(runs), loc="outside upper center", ncols=min(len(runs), 6))
    figure.supxlabel(NOTE, fontsize=8, color="0.35")
    save_figure(figure, path)


def _panels() -> list[Panel]:
    ratio = "squared error / predicted variance\n1: as large as predicted"
    return [
        Panel("Loss of training batches", "velocity loss", ("velocity",)),
        Panel("Images held out (solid) and seen (dashed)", "velocity loss", ("held_out", "seen")),
        Panel("Loss by time", "velocity loss", ("velocity_at_",), by_time=True),
        Panel("Difficulty: calibration", ratio, ("difficulty_ratio",), mark=mark_calibrated),
        Panel(
            "Difficulty: calibration by time",
            ratio,
            ("difficulty_ratio_at_",),
            by_time=True,
            mark=mark_calibrated,
        ),
        Panel("Throughput", "images per second", ("images_per_second",), mark=_from_zero),
    ]


def _has(rows: Rows, panel: Panel) -> bool:
    field = panel.fields[0]
    return bool(by_time(rows, field) if panel.by_time else curve(rows, field))


def _draw_over_steps(axes: "Axes", rows: Rows, panel: Panel, color: str) -> None:
    for field, style in zip(panel.fields, ("-", "--"), strict=False):
        if points := curve(rows, field):
            axes.plot(*zip(*points, strict=True), color=color, alpha=0.25, lw=0.8)
            axes.plot(*zip(*smoothed(points), strict=True), style, color=color, lw=1.8)


def _draw_by_time(axes: "Axes", rows: Rows, panel: Panel, color: str) -> None:
    tenth = max(1, len(rows) // _END)
    for part, style in ((rows[:tenth], ":"), (rows[-tenth:], "-")):
        if points := by_time(part, panel.fields[0]):
            axes.plot(*zip(*points, strict=True), style, color=color, lw=1.8, marker=".")


def mark_calibrated(axes: "Axes") -> None:
    """The ratio of a calibrated head, and the range in which training does not warn."""
    low, high = CALIBRATED
    axes.axhspan(low, high, color="0.5", alpha=0.12, lw=0)
    axes.axhline(1, color="0.4", lw=1)
    axes.set_yscale("log", base=2)
    bottom, top = axes.get_ylim()
    axes.set_ylim(min(bottom, low / 1.5), max(top, high * 1.5))
    axes.yaxis.set_major_formatter("{x:g}")


def _from_zero(axes: "Axes") -> None:
    axes.set_ylim(bottom=0)


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
