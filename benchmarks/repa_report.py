"""The page and the chart of benchmarks/repa.py, from its JSON.

    python benchmarks/repa_report.py docs/results/repa/repa.json --page docs/results/repa.md

Needs matplotlib: pip install -e ".[bench]".
"""

import argparse
import json
from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt

from emoji_measure import Row
from emoji_tables import table
from repa import TRAININGS, Training

COLOURS = {"SiT": "#b05050", "PF": "#4c72b0"}
PAGE = """# Representation alignment on emoji scenes

Four trainings that differ in nothing but times (SiT: one for all patches; PF: `{times}`) and
alignment, with the same seed and the same {steps:,} steps of {batch}. The network has {depth}
blocks of width {width}, patch {patch}; alignment is after block {block}, its weight {weight}, its
projector {projector} wide, and its frozen encoder the benchmark's own feature network.
FD: {samples:,} samples of the averaged weights, Euler, {nfe:g} evaluations, no guidance; real
against real: {floor:.1f}. One seed: differences of a few per cent mean nothing.

![FD against steps]({chart})

{table}
{sentences}

FD, accuracy and similarity are seen by the same network that tokens were aligned with, so they may
flatter alignment; velocity loss (mean over the {every:,} steps before, of scenes that were never
seen) knows no encoder. Between SiT and PF it does not compare: they see other times.

| training | seconds | images a second |
|---|---|---|
{seconds}

`python benchmarks/repa.py`, {hardware}, torch {torch}, {date}, commit {commit}.
All numbers: [{source}]({source}).
"""


def curve(rows: list[Row], training: Training) -> list[tuple[int, float]]:
    """(step, FD)."""
    return sorted((row["step"], row["fd"]) for row in rows if row["training"] == training.name)


def reached(points: list[tuple[int, float]], wanted: float) -> float | None:
    """The step at which a curve first comes down to a distance, linearly; None if it does not."""
    if points[0][1] <= wanted:
        return points[0][0]
    for (step, fd), (later, lower) in pairwise(points):
        if lower <= wanted:
            return step + (later - step) * (fd - wanted) / (fd - lower)
    return None


def sentence(rows: list[Row], method: str) -> str:
    """What alignment does to one method."""
    plain, aligned = (curve(rows, Training(method, on)) for on in (False, True))
    last, before, after = plain[-1][0], plain[-1][1], aligned[-1][1]
    said = f"- {method}: FD {before:.1f} without, {after:.1f} with alignment after {last:,} steps "
    said += f"({100 * (after / before - 1):+.1f} %)"
    step = reached(aligned, before)
    if step is None:
        return f"{said}; with it, FD {before:.1f} is not reached."
    early = "at most " if step == aligned[0][0] else ""
    return f"{said}; with it, FD {before:.1f} is reached after {early}{step:,.0f} steps."


def draw(rows: list[Row], path: Path) -> None:
    """FD and velocity loss against steps."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for training in TRAININGS:
        mine = sorted((r for r in rows if r["training"] == training.name), key=lambda r: r["step"])
        for place, key in zip(axes, ("fd", "velocity"), strict=True):
            place.plot(
                [row["step"] for row in mine],
                [row[key] for row in mine],
                "-o" if training.aligned else "--o",
                color=COLOURS[training.method],
                markerfacecolor=COLOURS[training.method] if training.aligned else "white",
                label=training.name,
            )
    axes[0].set(xlabel="training steps", ylabel="Fréchet distance")
    axes[0].set_ylim(bottom=0)
    axes[1].set(xlabel="training steps", ylabel="velocity loss")
    for place in axes:
        place.grid(alpha=0.3)
    axes[0].legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Write the page and the chart."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("json", type=Path, nargs="?", default=Path("docs/results/repa/repa.json"))
    parser.add_argument("--page", type=Path, default=Path("docs/results/repa.md"))
    options = parser.parse_args()
    found = json.loads(options.json.read_text(encoding="utf-8"))
    rows = found["rows"]
    chart = options.json.with_suffix(".png")
    draw(rows, chart)
    aligned = found["recipes"]["PF + REPA"]
    network, alignment = aligned["network"], aligned["alignment"]
    steps = sorted({row["step"] for row in rows})
    by_step = []
    for training in TRAININGS:
        mine = [row for row in rows if row["training"] == training.name]
        last = max(mine, key=lambda row: row["step"])
        distances = dict(curve(rows, training))
        cells = [training.name]
        cells += [f"{distances[step]:.1f}" if step in distances else "" for step in steps]
        cells += [f"{last['accuracy']:.1%}", f"{last['velocity']:.4f}"]
        by_step.append([*cells, f"{-last['alignment']:.3f}" if "alignment" in last else ""])
    header = ["FD after", *(f"{step:,} steps" for step in steps)]
    header += ["accuracy", "velocity loss", "cosine similarity"]
    page = PAGE.format(
        times=aligned["timesteps"],
        steps=aligned["steps"],
        batch=aligned["batch_size"],
        depth=network["depth"],
        width=network["hidden_size"],
        patch=network["patch_size"],
        block=alignment["depth"] or -(-2 * network["depth"] // 7),
        weight=alignment["weight"],
        projector=alignment["projector_dim"],
        samples=found["samples"],
        nfe=found["sampling"]["nfe"],
        floor=found["floor"],
        chart=f"{chart.parent.name}/{chart.name}",
        table=table(header, by_step),
        sentences="\n".join(sentence(rows, method) for method in COLOURS),
        every=aligned["checkpoint_every"],
        seconds="\n".join(
            f"| {name} | {row['seconds']} | {row.get('images_per_second', '')} |"
            for name, row in found["trainings"].items()
        ),
        hardware=found["hardware"],
        torch=found["versions"]["torch"],
        date=found["date"],
        commit=found["commit"],
        source=f"{options.json.parent.name}/{options.json.name}",
    )
    options.page.write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
