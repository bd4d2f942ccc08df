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

from benchmarks.common.record import Row, command_of
from benchmarks.common.tables import spread, table
from benchmarks.repa import run
from benchmarks.repa.chart import Curve, change, draw
from benchmarks.repa.trainings import METHODS, SAME, Training, training_of
from patch_forcing.core.errors import UserError

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


def read(paths: list[Path]) -> list[Row]:
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
    by_name: dict[str, Curve] = {}
    for row in sorted(rows, key=order):
        curve = by_name.setdefault(training_of(row).name, {})
        curve.setdefault(row["step"], {})[row["seed"]] = row[key]
    return by_name


def order(row: Row) -> tuple[Any, ...]:
    """Of rows."""
    return (
        list(METHODS).index(row["method"]),
        row["weight"],
        row["depth"] or 0,
        row["step"],
        row["seed"],
    )


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


def sentence(distances: dict[str, Curve], name: str, without: str) -> str:
    """What alignment of one weight does to one method."""
    mine, plain = distances[name], distances[without]
    steps = sorted(step for step in mine if change(mine, plain, step))
    parts = [f"{statistics.mean(change(mine, plain, s)):+.1f} % after {s:,}" for s in steps]
    seeds = len(change(mine, plain, steps[-1]))
    text = f"- {name} ({seeds} seed{'s' if seeds > 1 else ''}): {', '.join(parts)} steps"
    last = steps[-1]
    step = reached(mine, plain, last)
    if step is None:
        return f"{text}."
    return f"{text}; that of {last:,} steps without alignment is reached after {step:,.0f}."


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


def report(files: list[Row], paths: list[Path]) -> str:
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
    distances = curves(rows, "fd")
    plain = {one.name: Training(one.method, 0, None, 0).name for one in ended}
    pairs = [
        (name, plain[name])
        for name, curve in distances.items()
        if name != plain[name]
        and any(change(curve, distances.get(plain[name], {}), step) for step in curve)
    ]
    if not pairs:
        raise UserError("no training with alignment has its seed without it in these files")
    draw(distances, pairs, paths[0].parent / "repa.png")
    aligned = next(recipes[one.folder] for one in ended if one.weight)
    about = files[0]
    return PAGE.format(
        **settings_of(aligned),
        samples=about["samples"],
        sampler=about["sampling"]["sampler"],
        nfe=about["sampling"]["nfe"],
        floor=about["floor"],
        sentences="\n".join(sentence(distances, *pair) for pair in pairs),
        distances=distances_table(rows, distances),
        changes=changes_table(rows, distances, pairs),
        left_out=f"Cut off before its end: {'; '.join(cut)}." if cut else "",
        command=command_for(rows, about["sampling"]),
        hardware=about["hardware"],
        torch=about["versions"]["torch"],
        date=about["date"],
        commit=about["commit"],
        sources=", ".join(f"[{path.name}]({path.parent.name}/{path.name})" for path in paths),
    )


def settings_of(recipe: Row) -> Row:
    """What the page says of the recipe of an aligned training."""
    network = recipe["network"]
    return {
        "times": METHODS["PF"],
        "steps": recipe["steps"],
        "batch": recipe["batch_size"],
        "depth": network["depth"],
        "width": network["hidden_size"],
        "patch": network["patch_size"],
        "block": -(-2 * network["depth"] // 7),
        "projector": recipe["alignment"]["projector_dim"],
        "every": recipe["checkpoint_every"],
    }


def measured_steps(rows: list[Row]) -> list[int]:
    """At which samples were made."""
    return sorted({row["step"] for row in rows})


def distances_table(rows: list[Row], distances: dict[str, Curve]) -> str:
    """FD after so many steps; accuracy, velocity loss and similarity at the end."""
    steps, lines = measured_steps(rows), []
    for name, curve in distances.items():
        last = [r for r in rows if training_of(r).name == name and r["step"] == max(curve)]
        cells = [name, str(len(last))]
        cells += [spread(curve[step].values()) if step in curve else "" for step in steps]
        cells.append(f"{statistics.mean(row['accuracy'] for row in last):.1%}")
        cells.append(f"{statistics.mean(row['velocity'] for row in last):.4f}")
        similar = [-row["alignment"] for row in last if "alignment" in row]
        lines.append([*cells, f"{statistics.mean(similar):.3f}" if similar else ""])
    at = [f"{step:,} steps" for step in steps]
    return table(["FD", "seeds", *at, "accuracy", "velocity loss", "cosine similarity"], lines)


def changes_table(
    rows: list[Row], distances: dict[str, Curve], pairs: list[tuple[str, str]]
) -> str:
    """Percent of FD after so many steps, and of the velocity loss at the end; a number a seed."""
    steps, losses, lines = measured_steps(rows), curves(rows, "velocity"), []
    for name, without in pairs:
        changes = [change(distances[name], distances[without], step) for step in steps]
        changes.append(change(losses[name], losses[without], steps[-1]))
        lines.append([name, *(", ".join(f"{one:+.1f}" for one in values) for values in changes)])
    return table(["", *(f"{step:,} steps" for step in steps), "velocity loss"], lines)


def command_for(rows: list[Row], sampling: Row) -> str:
    """What makes all rows."""
    specs = " ".join(dict.fromkeys(training_of(row).spec for row in sorted(rows, key=order)))
    seeds = " ".join(map(str, sorted({row["seed"] for row in rows})))
    settings = f"--sampler {sampling['sampler']} --nfe {sampling['nfe']:g}"
    return f"{command_of(run.__file__)} {settings} --seeds {seeds} --trainings {specs}"


if __name__ == "__main__":
    main()
