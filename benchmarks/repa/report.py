"""The tables of docs/results/repa.md and their chart, from what benchmarks/repa/run.py wrote.

    python -m benchmarks.repa.report docs/results/repa/gpu0.json docs/results/repa/gpu1.json
    python -m benchmarks.pages.write docs/results/repa.md

The first command draws the chart beside the first file. Several files are of runs beside each
other. Needs matplotlib: pip install -e ".[bench]".
"""

import argparse
import json
import statistics
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.common.record import Row, command_of
from benchmarks.common.tables import made, paragraph, spread, table
from benchmarks.repa.trainings import METHODS, SAME, Curve, change, training_of
from patch_forcing.core.errors import UserError

RUN = command_of(Path(__file__).with_name("run.py"))


def checked(files: tuple[Row, ...]) -> list[Row]:
    """All rows. Raises UserError if they cannot stand in one table."""
    for number, file in enumerate(files):
        for key in SAME:
            if file[key] != files[0][key]:
                raise UserError(f"file {number + 1} has another {key} than the first one")
        if file["toy"]:
            raise UserError(f"file {number + 1} is of a toy run, which means nothing")
    rows = [row for file in files for row in file["rows"]]
    if len({(training_of(row), row["step"]) for row in rows}) < len(rows):
        raise UserError("a training is in two of the files")
    return rows


def ended(*files: Row) -> list[Row]:
    """The rows of trainings that were sampled to their end. Raises UserError."""
    rows = checked(files)
    recipes = _recipes(files)
    whole = {
        training_of(row) for row in rows if row["step"] == recipes[training_of(row).folder]["steps"]
    }
    return [row for row in rows if training_of(row) in whole]


def _recipes(files: tuple[Row, ...]) -> Row:
    return {name: recipe for file in files for name, recipe in file["recipes"].items()}


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


def compared(distances: dict[str, Curve]) -> list[tuple[str, str]]:
    """Trainings with alignment, each with the one of its seeds without. Raises UserError."""
    methods = {name: name.partition(" + ")[0] for name in distances}
    pairs = [
        (name, method)
        for name, method in methods.items()
        if name != method
        and any(
            change(distances[name], distances.get(method, {}), step) for step in distances[name]
        )
    ]
    if not pairs:
        raise UserError("no training with alignment has its seed without it in these files")
    return pairs


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


def about(*files: Row) -> str:
    """What was trained and how it was measured."""
    rows, recipes, first = checked(files), _recipes(files), files[0]
    whole = {training_of(row).folder for row in ended(*files)}
    cut = sorted({training_of(row).folder for row in rows} - whole)
    recipe = next(recipes[training_of(row).folder] for row in ended(*files) if row["weight"])
    network, sampling = recipe["network"], first["sampling"]
    return "\n".join(
        [
            paragraph(
                f"Trainings of {recipe['steps']:,} steps of {recipe['batch_size']} differ only in "
                "times, alignment and seed.",
                f"SiT has one time for all patches, and Patch Forcing (PF) has `{METHODS['PF']}`.",
                f"The network has {network['depth']} blocks of width {network['hidden_size']}, and "
                f"its patches have {network['patch_size']} pixels.",
                f"Alignment is after block {-(-2 * network['depth'] // 7)}, where nothing else is "
                "said.",
                f"Its projector is {recipe['alignment']['projector_dim']} wide.",
                "Its frozen encoder is the benchmark's own feature network.",
            ),
            paragraph(
                f"FD is the Fréchet distance of {first['samples']:,} samples of the averaged "
                "weights, without guidance.",
                f"They were made by {sampling['sampler']} in {sampling['nfe']:g} evaluations.",
                f"Real against real is {first['floor']:.1f}.",
                *(f"Cut off before its end: {name}." for name in cut),
            ),
            paragraph(f"`{command_for(rows, sampling)}`"),
            paragraph(made(first)),
        ]
    )


def gains(*files: Row) -> str:
    """Change of FD by alignment, mean of seeds, and when it is where the end is without it."""
    rows = ended(*files)
    distances, steps, lines = curves(rows, "fd"), measured_steps(rows), []
    for name, without in compared(distances):
        mine, plain = distances[name], distances[without]
        changes = [change(mine, plain, step) for step in steps]
        means = [f"{statistics.mean(one):+.1f} %" if one else "" for one in changes]
        step = reached(mine, plain, steps[-1])
        lines.append(
            [name, str(len(changes[-1])), *means, f"{step:,.0f} steps" if step else "never"]
        )
    lines = [[cell.replace("-", "−") for cell in line] for line in lines]
    at = [f"{step:,} steps" for step in steps]
    return table(["FD", "seeds", *at, "reaches the end of training without it after"], lines)


def measured_steps(rows: list[Row]) -> list[int]:
    """At which samples were made."""
    return sorted({row["step"] for row in rows})


def distances_table(*files: Row) -> str:
    """FD after so many steps; accuracy, velocity loss and similarity at the end."""
    rows = ended(*files)
    steps, distances, lines = measured_steps(rows), curves(rows, "fd"), []
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


def changes_table(*files: Row) -> str:
    """Percent of FD after so many steps, and of the velocity loss at the end; a number a seed."""
    rows = ended(*files)
    distances, losses = curves(rows, "fd"), curves(rows, "velocity")
    steps, lines = measured_steps(rows), []
    for name, without in compared(distances):
        changes = [change(distances[name], distances[without], step) for step in steps]
        changes.append(change(losses[name], losses[without], steps[-1]))
        cells = [", ".join(f"{one:+.1f}" for one in values) for values in changes]
        lines.append([name, *(cell.replace("-", "−") for cell in cells)])
    return table(["", *(f"{step:,} steps" for step in steps), "velocity loss"], lines)


def command_for(rows: list[Row], sampling: Row) -> str:
    """What makes all rows."""
    specs = " ".join(dict.fromkeys(training_of(row).spec for row in sorted(rows, key=order)))
    seeds = " ".join(map(str, sorted({row["seed"] for row in rows})))
    settings = f"--sampler {sampling['sampler']} --nfe {sampling['nfe']:g}"
    return f"{RUN} {settings} --seeds {seeds} --trainings {specs}"


def main() -> None:
    """Draw the chart."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("json", type=Path, nargs="+")
    options = parser.parse_args()
    from benchmarks.repa.chart import draw  # matplotlib is wanted for it alone

    try:
        files = [json.loads(path.read_text(encoding="utf-8")) for path in options.json]
        distances = curves(ended(*files), "fd")
        draw(distances, compared(distances), options.json[0].parent / "repa.png")
    except UserError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
