"""The chart of alignment: distance against steps, and its change."""

import statistics
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.ticker import LogLocator, NullFormatter

from benchmarks.repa.trainings import Curve, change

COLOURS = {
    "SiT": ["#7a1f1f", "#c44e52", "#e8a0a0"],
    "PF": ["#1f3a7a", "#4c72b0", "#7fb2e5", "#55a868"],
}
MARKERS = "os^v"


def draw(distances: dict[str, Curve], pairs: list[tuple[str, str]], path: Path) -> None:
    """FD against steps; and its change by alignment, a point a seed."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
    for name, curve in distances.items():
        if name not in dict(pairs):
            steps = sorted(curve)
            means = [statistics.mean(curve[step].values()) for step in steps]
            colour = COLOURS[name][0]
            left.plot(steps, means, "--o", color=colour, label=name, markerfacecolor="white")
    for name, without in pairs:
        mine, plain = distances[name], distances[without]
        place = [other for other, method in pairs if method == without].index(name)
        colour, marker = COLOURS[without][(place + 1) % len(COLOURS[without])], MARKERS[place % 4]
        steps = sorted(step for step in mine if change(mine, plain, step))
        means = [statistics.mean(mine[step].values()) for step in steps]
        left.plot(steps, means, f"-{marker}", color=colour, label=name, markersize=5)
        changes = [change(mine, plain, step) for step in steps]
        averages = [statistics.mean(values) for values in changes]
        right.plot(steps, averages, f"-{marker}", color=colour, label=name, markersize=5)
        for step, values in zip(steps, changes, strict=True):
            right.plot([step] * len(values), values, marker, color=colour, alpha=0.3, markersize=4)
    left.set(xlabel="training steps", ylabel="Fréchet distance", yscale="log")
    right.set(xlabel="training steps", ylabel="change of FD by alignment, percent")
    right.axhline(0, color="black", linewidth=0.8)
    left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    left.yaxis.set_major_formatter("{x:,.0f}")
    left.yaxis.set_minor_formatter(NullFormatter())
    for axes in (left, right):
        axes.set_xticks(sorted({step for curve in distances.values() for step in curve}))
        axes.grid(alpha=0.3)
    left.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)
