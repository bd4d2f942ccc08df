"""Charts of measurements. Needs matplotlib, which is the extra `bench`."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

Curve = Sequence[tuple[float, float]]


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def line_charts(
    panels: Sequence[tuple[str, Mapping[str, Curve]]], quality: str, path: Path
) -> None:
    """Panels side by side, each a cost's name and one curve of (cost, quality) for each name.

    Ask `can_draw` first.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogFormatter

    figure = Figure(figsize=(6.5 * len(panels), 4.5), layout="constrained")
    every = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (cost, curves) in zip(every, panels, strict=True):
        for name, curve in curves.items():
            axes.plot(*zip(*sorted(curve), strict=True), "o-", markersize=4, label=name)
        axes.set(xlabel=cost, ylabel=quality, xscale="log")
        for axis in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
            axis(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.5)))
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)
