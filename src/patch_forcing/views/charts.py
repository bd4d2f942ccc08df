"""Charts of measurements. They need matplotlib, which the extra `bench` installs."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from patch_forcing.io.atomic import atomic_file
from patch_forcing.io.image_file import SOFTWARE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curve = Sequence[tuple[float, float]]


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def line_charts(
    panels: Sequence[tuple[str, Mapping[str, Curve]]], quality: str, path: Path
) -> None:
    """Draws panels side by side. Call `can_draw` first.

    panels: each is the name of a cost and, by name, curves of (cost, quality).
    quality: the name of the vertical axis.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogFormatter

    figure = Figure(figsize=(6.5 * len(panels), 4.5), layout="constrained")
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (cost, curves) in zip(row, panels, strict=True):
        for name, curve in curves.items():
            axes.plot(*zip(*sorted(curve), strict=True), "o-", markersize=4, label=name)
        axes.set(xlabel=cost, ylabel=quality, xscale="log")
        for set_formatter in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
            set_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.5)))
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    save_figure(figure, path)


def save_figure(figure: "Figure", path: Path) -> None:
    """A PNG that is whole, or what was there before, and says what drew it."""
    with atomic_file(path, durable=False) as aside:
        figure.savefig(aside, dpi=110, format="png", metadata={"Software": SOFTWARE})
