"""Tables of natural images, from the rows of benchmarks/natural/run.py."""

from benchmarks.common.record import Row
from benchmarks.common.tables import change, made, paragraph, spread, table
from benchmarks.natural.claims import AB2, FEW, LENGTHS, PATCHWISE, distance
from benchmarks.natural.measure import DEFAULT
from benchmarks.natural.rows import (
    GRID_NAMES,
    NETWORK_NAMES,
    Natural,
    by_data,
    distances,
    sampler_name,
)
from benchmarks.natural.settings import GROUPED, LTG, NAMES, SETS, SIT


def real(rows: list[Row]) -> str:
    """What the networks make of real images."""
    lines = []
    for data, one in SETS.items():
        matches = [row for row in rows if row["kind"] == "real" and row["data"] == data]
        for judge in matches[-1]["judges"] if matches else ():
            images, floor = judge["images"], judge["floor"]
            lines.append(
                [
                    one.name,
                    judge["network"].partition(" ")[0],
                    f"{images['train']:,} and {images['held-out']:,}",
                    f"{judge['accuracy']:.1%}",
                    f"{floor['value']:.3g}",
                ]
            )
    header = ["data", "network", "images trained on and held out", "accuracy", "FD between both"]
    return table(header, lines)


def timesteps(rows: list[Row]) -> str:
    """Times of training, by Euler at 48 and Adams–Bashforth at 12."""
    return by_data(_timesteps, rows)


def _timesteps(here: Natural) -> str:
    lines = []
    base = here.sampled(SIT, "euler", 48)
    for name, title in NAMES.items():
        matches = here.sampled(name, "euler", 48)
        if not matches:
            continue
        against = _paired(matches, base) if base and name != SIT else ""
        few = here.sampled(name, AB2, 12)
        accuracy = spread((100 * row["measures"][0]["accuracy"] for row in matches), 1)
        cells = [distances(matches, n) for n in range(len(matches[0]["measures"]))]
        near = distances(matches, 0, "train")
        lines.append([title, *cells, against, near, accuracy, distances(few) if few else ""])
    if not lines:
        return ""
    networks = [f"FD, {name}" for name in NETWORK_NAMES[: len(lines[0]) - 5]]
    header = ["training times", *networks, "against SiT", "FD to training images", "accuracy, %"]
    return table([*header, "FD, Adams–Bashforth 12"], lines)


def _paired(matches: list[Row], base: list[Row]) -> str:
    """Mean change in percent, on the same seeds."""
    before = {row["model"]["seed"]: distance(row) for row in base}
    pairs = [
        (distance(r), before[r["model"]["seed"]]) for r in matches if r["model"]["seed"] in before
    ]
    if not pairs:
        return ""
    return change(sum(new / old for new, old in pairs) / len(pairs), 1)


def few(rows: list[Row]) -> str:
    """Few evaluations, and the defaults."""
    return by_data(_few, rows)


def _few(here: Natural) -> str:
    lines = []
    for spec, nfe, grid in (
        *((AB2, n, g) for n in FEW for g in ("uniform", "fitted")),
        *((AB2, n, "uniform") for n in (12, 24)),
        (DEFAULT, 0, "uniform"),
    ):
        matches = here.sampled(GROUPED, spec, nfe, grid)
        if matches:
            name = "as without options" if spec == DEFAULT else sampler_name(spec)
            took = spread((row["nfe"] for row in matches[:1]), 0)
            cells = [distances(matches, n) for n in range(len(matches[0]["measures"]))]
            lines.append([name, took, GRID_NAMES[grid], *cells])
    if not lines:
        return ""
    networks = [f"FD, {name}" for name in NETWORK_NAMES[: len(lines[0]) - 3]]
    return table(["sampler", "NFE", "steps", *networks], lines)


def difficulty(rows: list[Row]) -> str:
    """Rank correlation of predicted and true error within images, by time."""
    return by_data(_difficulty, rows)


def _difficulty(here: Natural) -> str:
    lines, times = [], []
    for name in (LTG, GROUPED):
        matches = here.models("difficulty", timesteps=name)
        if matches:
            times = [entry["t"] for entry in matches[0]["by_time"]]
            cells = [
                spread((row["by_time"][k]["within_images"] for row in matches), 2)
                for k in range(len(times))
            ]
            lines.append([NAMES[name], *cells])
    return table(["trained with", *(f"t {t}" for t in times)], lines) if lines else ""


def context(rows: list[Row]) -> str:
    """The squared error of hard patches, by how far the easy ones are ahead: against not at all."""
    return by_data(_context, rows)


def _context(here: Natural) -> str:
    matches = here.models("difficulty", timesteps=GROUPED)
    if not matches:
        return ""
    entries = [row["by_context"] for row in matches]
    ratios = list(dict.fromkeys(entry["ratio"] for entry in entries[0]))
    lines = []
    for t in dict.fromkeys(entry["t"] for entry in entries[0]):
        cells = []
        for ratio in ratios[1:]:
            changes = [
                _at(rows, t, ratio)["true"] / _at(rows, t, ratios[0])["true"] for rows in entries
            ]
            cells.append(change(sum(changes) / len(changes), 1))
        lines.append([f"{t}", *cells])
    return table(["t", *(f"context at {ratio:g}·t" for ratio in ratios[1:])], lines)


def _at(entries: list[Row], t: float, ratio: float) -> Row:
    return next(entry for entry in entries if (entry["t"], entry["ratio"]) == (t, ratio))


def length(rows: list[Row]) -> str:
    """One training followed for long."""
    return by_data(_length, rows)


def _length(here: Natural) -> str:
    lines = []
    for spec, nfe in (*((s, 48) for s in ("euler", AB2, *PATCHWISE)), (AB2, 12)):
        rows = [here.sampled(GROUPED, spec, nfe, size="small", steps=steps) for steps in LENGTHS]
        cells = [distances(matches) if matches else "" for matches in rows]
        if any(cells):
            lines.append([sampler_name(spec), str(nfe), *cells])
    header = ["sampler", "NFE", *(f"{steps:,} steps" for steps in LENGTHS)]
    return table(header, lines) if lines else ""


def source(rows: list[Row]) -> str:
    """Where and when all of it was measured."""
    return paragraph(made(*rows))
