"""Kinds of guidance at equal evaluations, from guidance.json and guidance-natural.json."""

from benchmarks.common.record import Row
from benchmarks.common.tables import made, paragraph, table
from benchmarks.guidance.settings import BY_INPUT, HALVES, LABEL

WAYS = {
    LABEL: "by the label",
    HALVES: "by the label, half of the patches a step",
    "context": "less context and no label",
    "both": "noisier patches and no label",
    "lie": "earlier clocks and no label",
    "tilt": "by the label, a scale for each patch",
}


def chosen(report: Row) -> str:
    """The best setting of each kind, on images that chose nothing, and what was measured how."""
    lines = [
        [
            _way(row),
            f"{row['scale']:g}",
            _own(row),
            _number(row["fd"]),
            _difference(row["fd_less_label"]),
            _number(row["accuracy"], percent=True),
            _difference(row["accuracy_less_label"], percent=True),
        ]
        for row in report["rows"]
    ]
    header = ["guidance", "scale", "s/t or tilt", "FD", "more than the best by the label"]
    header += ["read as its class", "points more than it"]
    return f"{table(header, lines)}\n{paragraph(_about(report))}"


def tried(report: Row) -> str:
    """All settings, on the images that the best were chosen on."""
    lines = [
        [
            _way(row),
            f"{row['scale']:g}",
            _own(row),
            _number(row["fd"]),
            _number(row["accuracy"], percent=True),
        ]
        for row in report["choosing"]
    ]
    header = ["guidance", "scale", "s/t or tilt", "FD", "read as its class"]
    (count,) = {row["images"] for row in report["choosing"]}
    about = f"{count:,} images a row, of other seeds than those that are reported."
    return f"{table(header, lines)}\n{paragraph(about)}"


def _about(report: Row) -> str:
    images = {row["images"] for row in report["rows"]}
    counts = " to ".join(f"{count:,}" for count in sorted(images))
    reference = "real scenes" if "reference" not in report["real"] else "photographs"
    network = report["real"]["features"].partition(" ")[0]
    return (
        f"{report['model']['name']}, {report['evaluations']:g} evaluations an image, {counts} "
        f"images a row; FD to {reference} in features of {network}. Brackets hold 95 % intervals; "
        "differences are paired, to the best of the rows by the label. FD of so few images is far "
        "too high: compare rows of one table only. "
        f"Measured on {made(report)}"
    )


def _way(row: Row) -> str:
    name = WAYS[HALVES if row["group"] == HALVES else row["kind"]]
    return name if row["drop"] else f"{name.removesuffix(' and no label')}, label kept"


def _own(row: Row) -> str:
    """The kind's own number."""
    if row["kind"] in BY_INPUT:
        return f"{row['ratio']:g}"
    return f"{row['tilt']:+g}".replace("-", "−") if row["kind"] == "tilt" else ""


def _difference(number: Row, percent: bool = False) -> str:
    """Nothing of the row itself."""
    return _number(number, True, percent) if any(number["interval"]) else ""


def _number(number: Row, signed: bool = False, percent: bool = False) -> str:
    values = [number["value"], *number["interval"]]
    scaled = [100 * value for value in values] if percent else values
    value, low, high = (f"{x:{'+' if signed else ''}.1f}".replace("-", "−") for x in scaled)
    return f"{value}{' %' if percent and not signed else ''} [{low}, {high}]"
