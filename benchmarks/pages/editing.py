"""The tables of a page on editing, from docs/results/editing.json."""

from benchmarks.common.record import Row
from benchmarks.common.tables import made, paragraph, table


def repainting(report: Row) -> str:
    """Every way of repainting, mask by mask, with the blend of the command."""
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
        parts.append(f"### {mask.capitalize()}\n\n{table(header, lines)}\n{paragraph(size)}")
    about = (
        f"{report['images']} held-out scenes, guidance {report['guidance']:g}, hard edges; "
        f"brackets hold 95 % intervals. Measured on {made(report)}"
    )
    return "\n".join([*parts, paragraph(about)])


def _number(number: Row, digits: int = 1) -> str:
    low, high = number["interval"]
    return f"{number['value']:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _percent(number: Row) -> str:
    return f"{100 * number['value']:.1f} %"
