"""The page and the chart of benchmarks/repa/run.py, from its JSON.

    python -m benchmarks.repa.report docs/results/repa/*.json --page docs/results/repa.md

Several files are of runs beside each other. Needs matplotlib: pip install -e ".[bench]".
"""

import argparse
import json
import statistics
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.ticker import LogLocator, NullFormatter

from benchmarks.emoji.measure import Row
from benchmarks.emoji.tables import spread, table
from benchmarks.repa.run import METHODS, SAME, Training, training_of
from patch_forcing.core.errors import UserError

Curve = dict[int, dict[int, float]]
"""A measure by step and seed."""
COLOURS = {
    "SiT": ["#7a1f1f", "#c44e52", "#e8a0a0"],
    "PF": ["#1f3a7a", "#4c72b0", "#7fb2e5", "#55a868"],
}
MARKERS = "os^v"
PAGE = """# Representation alignment on emoji scenes

Trainings of {steps:,} steps of {batch} differ only in times (SiT: one for all patches; PF:
`{times}`), alignment and seed. The network has {depth} blocks of width {width}, patch {patch}.
Alignment is after block {block} unless noted. Its projector is {projector} wide, and its frozen
encoder is the benchmark's own feature network. FD is that of {samples:,} samples of the averaged
weights, {sampler}, {nfe:g} evaluations, no guidance; real against real is {floor:.1f}.

Change of FD by alignment, as the mean of seeds, compared with the same seed without:

{sentences}

![FD against steps, with alignment and without](repa/repa.png)

Mean ± standard deviation of the seeds. The last three columns are those at the end of training:

{distances}
Change by alignment in percent, one number a seed. It is that of FD after so many steps, and of the
velocity loss at the end:

{changes}
FD, accuracy and similarity are measured by the same network that tokens were aligned with, so they
may flatter alignment. The velocity loss knows no encoder: it is the mean over the {every:,} steps
before, of scenes that were never seen. SiT and PF see other times, so it does not compare them.
{left_out}

`{command}`, {hardware}, torch {torch}, {date}, commit {commit}.
All numbers: {sources}.
"""


def read(paths: list[Path]) -> list[dict[str, Any]]:
    """Raises UserError if their rows cannot stand in one table."""
    files = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    for path, file in zip(paths, files, strict=True):
        for key in SAME:
            if file[key] != files[0][key]:
                raise UserError(f"{path} has another {key} than {paths[0]}")
        if file["toy"]:
            raise UserError(f"{path} is of a toy run, which means nothing")
    rows = [(training_of(row), row["step"]) for file in files for row in file["rows"]]
    if len(set(rows)) < len(rows):
        raise UserError("a training is in two of the files")
    return files


def curves(rows: list[Row], key: str) -> dict[str, Curve]:
    """By the names of trainings, those without alignment first, then by weight."""
    found: dict[str, Curve] = {}
    for row in sorted(rows, key=order):
        mine = found.setdefault(training_of(row).name, {})
        mine.setdefault(row["step"], {})[row["seed"]] = row[key]
    return found


def order(row: Row) -> tuple[Any, ...]:
    """Of rows."""
    return (
        list(METHODS).index(row["method"]),
        row["weight"],
        row["depth"] or 0,
        row["step"],
        row["seed"],
    )


def change(with_it: Curve, without: Curve, step: int) -> list[float]:
    """Percent, of each seed that has both."""
    before = without.get(step, {})
    seeds = [seed for seed in with_it.get(step, {}) if seed in before]
    return [100 * (with_it[step][seed] / before[seed] - 1) for seed in seeds]


def reached(with_it: Curve, without: Curve, step: int) -> float | None:
    """At which step alignment is where the training without it is at `step`, of seeds with both.

    Linear between the measured steps; None: never.
    """
    seeds = [seed for seed in with_it[step] if seed in without[step]]

    def mean(curve: Curve, at: int) -> float:
        return statistics.mean(curve[at][seed] for seed in seeds)

    wanted = mean(without, step)
    points = [(at, mean(with_it, at)) for at in sorted(with_it)]
    for (early, fd), (later, lower) in pairwise(points):
        if lower <= wanted < fd:
            return early + (later - early) * (fd - wanted) / (fd - lower)
    return None


def sentence(found: dict[str, Curve], name: str, without: str) -> str:
    """What alignment of one weight does to one method."""
    mine, plain = found[name], found[without]
    steps = sorted(step for step in mine if change(mine, plain, step))
    parts = [f"{statistics.mean(change(mine, plain, s)):+.1f} % after {s:,}" for s in steps]
    seeds = len(change(mine, plain, steps[-1]))
    said = f"- {name} ({seeds} seed{'s' if seeds > 1 else ''}): {', '.join(parts)} steps"
    last = steps[-1]
    step = reached(mine, plain, last)
    if step is None:
        return f"{said}."
    return f"{said}; that of {last:,} steps without alignment is reached after {step:,.0f}."


def draw(found: dict[str, Curve], pairs: list[tuple[str, str]], path: Path) -> None:
    """FD against steps; and its change by alignment, a point a seed."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
    for name, curve in found.items():
        if name not in dict(pairs):
            steps = sorted(curve)
            means = [statistics.mean(curve[step].values()) for step in steps]
            colour = COLOURS[name][0]
            left.plot(steps, means, "--o", color=colour, label=name, markerfacecolor="white")
    for name, without in pairs:
        mine, plain = found[name], found[without]
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
        axes.set_xticks(sorted({step for curve in found.values() for step in curve}))
        axes.grid(alpha=0.3)
    left.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Write the page and the chart."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("json", type=Path, nargs="+")
    parser.add_argument("--page", type=Path, default=Path("docs/results/repa.md"))
    options = parser.parse_args()
    try:
        files = read(options.json)
        page = report(files, options.json)
    except UserError as error:
        parser.error(str(error))
    options.page.write_text(page, encoding="utf-8")
    print(page)


def report(files: list[dict[str, Any]], paths: list[Path]) -> str:
    """The page, whose chart is drawn beside the first file."""
    recipes = {name: recipe for file in files for name, recipe in file["recipes"].items()}
    every = [row for file in files for row in file["rows"]]
    # only trainings that were sampled to their end
    ended = {
        training_of(row)
        for row in every
        if row["step"] == recipes[training_of(row).folder]["steps"]
    }
    rows = [row for row in every if training_of(row) in ended]
    cut = sorted({training_of(row).folder for row in every} - {one.folder for one in ended})
    found, losses = curves(rows, "fd"), curves(rows, "velocity")
    plain = {one.name: Training(one.method, 0, None, 0).name for one in ended}
    pairs = [
        (name, without)
        for name, without in ((name, plain[name]) for name in found)
        if name != without
        and any(change(found[name], found.get(without, {}), step) for step in found[name])
    ]
    if not pairs:
        raise UserError("no training with alignment has its seed without it in these files")
    draw(found, pairs, paths[0].parent / "repa.png")
    aligned = next(recipes[one.folder] for one in ended if one.weight)
    network, about = aligned["network"], files[0]
    steps = sorted({row["step"] for row in rows})
    distances = []
    for name, curve in found.items():
        last = [r for r in rows if training_of(r).name == name and r["step"] == max(curve)]
        cells = [name, str(len(last))]
        cells += [spread(curve[step].values()) if step in curve else "" for step in steps]
        cells.append(f"{statistics.mean(row['accuracy'] for row in last):.1%}")
        cells.append(f"{statistics.mean(row['velocity'] for row in last):.4f}")
        similar = [-row["alignment"] for row in last if "alignment" in row]
        distances.append([*cells, f"{statistics.mean(similar):.3f}" if similar else ""])
    changes = []
    for name, without in pairs:
        each = [change(found[name], found[without], step) for step in steps]
        each.append(change(losses[name], losses[without], steps[-1]))
        changes.append([name, *(", ".join(f"{one:+.1f}" for one in values) for values in each)])
    at = [f"{step:,} steps" for step in steps]
    specs = " ".join(dict.fromkeys(training_of(row).spec for row in sorted(rows, key=order)))
    seeds = " ".join(map(str, sorted({row["seed"] for row in rows})))
    sampling = about["sampling"]
    settings = f"--sampler {sampling['sampler']} --nfe {sampling['nfe']:g}"
    return PAGE.format(
        times=METHODS["PF"],
        steps=aligned["steps"],
        batch=aligned["batch_size"],
        depth=network["depth"],
        width=network["hidden_size"],
        patch=network["patch_size"],
        block=-(-2 * network["depth"] // 7),
        projector=aligned["alignment"]["projector_dim"],
        samples=about["samples"],
        sampler=sampling["sampler"],
        nfe=sampling["nfe"],
        floor=about["floor"],
        sentences="\n".join(sentence(found, *pair) for pair in pairs),
        distances=table(
            ["FD", "seeds", *at, "accuracy", "velocity loss", "cosine similarity"], distances
        ),
        changes=table(["", *at, "velocity loss"], changes),
        every=aligned["checkpoint_every"],
        left_out=f"Cut off before its end: {'; '.join(cut)}." if cut else "",
        command=f"python -m benchmarks.repa.run {settings} --seeds {seeds} --trainings {specs}",
        hardware=about["hardware"],
        torch=about["versions"]["torch"],
        date=about["date"],
        commit=about["commit"],
        sources=", ".join(f"[{path.name}]({path.parent.name}/{path.name})" for path in paths),
    )


if __name__ == "__main__":
    main()
