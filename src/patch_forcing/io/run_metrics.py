"""Reading metrics.jsonl, the curves of a run, while the run may be writing it."""

import json
from pathlib import Path
from typing import Any

METRICS = "metrics.jsonl"


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of a run by step; none before the first. A line that is not whole is left out."""
    file = run / METRICS
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    rows = []
    for line in text.split("\n")[:-1]:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            rows.append(row)
    return rows


def first_and_last(rows: list[dict[str, Any]], name: str) -> tuple[float, float] | None:
    """The first and the last finite value of a field; None if no line has one."""
    values = [row[name] for row in rows if isinstance(row.get(name), int | float)]
    return (values[0], values[-1]) if values else None
