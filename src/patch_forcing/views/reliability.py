"""Predicted variance against squared error in one picture. Needs matplotlib: `charts.can_draw`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patch_forcing.views.charts import save_figure
from patch_forcing.views.curves import mark_calibrated

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = Mapping[str, Any]
_MARGIN = 1.7


def reliability_chart(rows: Sequence[Row], title: str, path: Path) -> None:
    """Draws a PNG: a reliability diagram for each bin of time; ratio and ranks by time beside them.

    rows: bins of time from `low` to `high`. Each has `levels` of `predicted` and `true` variance,
    with the standard `error` of log₂ of their ratio; and `ratio` and `rank_correlation`, which have
    `value`, `low` and `high` or are None.
    """
    from matplotlib.figure import Figure

    lines = 2 if len(rows) > 3 else 1
    columns = -(-len(rows) // lines)
    figure = Figure(figsize=(2.3 * columns + 4.6, 5.7), layout="constrained")
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(2.3 * columns, 4.6))[0]
    panels = left.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    bounds = _bounds(rows)
    for axes, row in zip(panels.flat, rows, strict=False):
        _draw_levels(axes, row, bounds)
    for axes in panels.flat[len(rows) :]:
        axes.set_axis_off()
    left.supxlabel("predicted variance: means of tenths of the patches", fontsize=10)
    left.supylabel("squared error of the velocity", fontsize=10)
    ratio, ranks = right.subplots(2, 1, sharex=True)
    _draw_by_time(ratio, rows, "ratio")
    mark_calibrated(ratio)
    ratio.set_title("squared error / predicted variance")
    _draw_by_time(ranks, rows, "rank_correlation")
    ranks.axhline(0, color="0.4", lw=1)
    ranks.set(title="rank correlation within an image", ylim=(min(-0.05, ranks.get_ylim()[0]), 1))
    ranks.set_xlabel("time t: 0 is noise, 1 is the image")
    figure.suptitle(title, fontsize=11)
    save_figure(figure, path)


def _bounds(rows: Sequence[Row]) -> tuple[float, float]:
    """Ends of both axes that all levels lie between."""
    levels = [level for row in rows for level in row["levels"]]
    ends = [level[side] for level in levels for side in ("predicted", "true")]
    return min(ends) / _MARGIN, max(ends) * _MARGIN


def _draw_levels(axes: "Axes", row: Row, bounds: tuple[float, float]) -> None:
    """One reliability diagram: on the diagonal, errors are as large as predicted."""
    predicted, true = ([level[side] for level in row["levels"]] for side in ("predicted", "true"))
    reach = [2 ** (1.96 * level["error"]) for level in row["levels"]]
    below = [value - value / factor for value, factor in zip(true, reach, strict=True)]
    above = [value * factor - value for value, factor in zip(true, reach, strict=True)]
    axes.plot(bounds, bounds, color="0.4", lw=1, ls="--", zorder=0)
    axes.errorbar(predicted, true, yerr=[below, above], fmt="o-", markersize=3, lw=1.2, capsize=2)
    axes.set(xscale="log", yscale="log", xlim=bounds, ylim=bounds, aspect="equal")
    axes.set_title(f"t {row['low']:.3g} … {row['high']:.3g}", fontsize=10)
    ranks = row["rank_correlation"]
    notes = [f"ratio {row['ratio']['value']:.2f}"]
    notes += [] if ranks is None else [f"ranks {ranks['value']:.2f}"]
    axes.text(0.06, 0.94, "\n".join(notes), transform=axes.transAxes, va="top", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)


def _draw_by_time(axes: "Axes", rows: Sequence[Row], field: str) -> None:
    """Points with their intervals at the middles of the bins."""
    shown = [row for row in rows if row[field] is not None]
    middles = [(row["low"] + row["high"]) / 2 for row in shown]
    values = [row[field]["value"] for row in shown]
    below = [value - row[field]["low"] for row, value in zip(shown, values, strict=True)]
    above = [row[field]["high"] - value for row, value in zip(shown, values, strict=True)]
    axes.errorbar(middles, values, yerr=[below, above], fmt="o-", markersize=4, lw=1.3, capsize=3)
    axes.set_xlim(0, 1)
    axes.grid(alpha=0.3)
