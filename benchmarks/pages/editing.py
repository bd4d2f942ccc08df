"""The tables of a page on editing, from docs/results/editing.json and editing-natural.json."""

from benchmarks.common.record import Row
from benchmarks.common.tables import made, paragraph, table


def repainting(report: Row) -> str:
    """Every way of repainting scenes, mask by mask, with hard edges."""
    return _page(report, "", f"{_count(report)} held-out scenes")


def photographs(report: Row) -> str:
    """The same of photographs that the model has not seen."""
    real = report["real"]
    network = real["features"].partition(" ")[0]
    about = (
        f"{report['model']['name']}, {_count(report):,} photographs that it has not seen; FD to "
        f"{real['reference']:,} others in features of {network}, by which "
        f"{100 * real['accuracy_on_real']:.0f} % of those are read as their class"
    )
    return _page(report, ", photographs", about)


def _page(report: Row, after: str, about: str) -> str:
    """A table for each mask. after: of its heading."""
    parts = []
    (real,) = (row for row in report["rows"] if row["method"] == "originals")
    for mask, step in real["steps"].items():
        lines = [["the originals", _number(real["fd"]), _percent(real["class"]), "", ""]]
        for row in report["rows"]:
            if row.get("mask") == mask and row["feather"] == 0:
                numbers = [_number(row["fd"]), _percent(row["class"]), _number(row["seam"], 4)]
                lines.append([row["method"], *numbers, f"{row['nfe']:g}"])
        header = ["way", "FD", "read as its class", "seam", "evaluations"]
        size = f"Steps between neighbouring pixels there are {step['value']:.4f} in the originals."
        heading = f"### {mask.capitalize()}{after}"
        parts.append(f"{heading}\n\n{table(header, lines)}\n{paragraph(size)}")
    how = f"Guidance {report['guidance']:g}, hard edges; brackets hold 95 % intervals."
    return "\n".join([*parts, paragraph(f"{about}.", how, f"Measured on {made(report)}")])


def _count(report: Row) -> int:
    count: int = report["count"] if "count" in report else report["images"]
    return count


def _number(number: Row, digits: int = 1) -> str:
    low, high = number["interval"]
    return f"{number['value']:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _percent(number: Row) -> str:
    return f"{100 * number['value']:.1f} %"
