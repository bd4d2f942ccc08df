"""Charts of the emoji claims and their JSON, from the rows that benchmarks/emoji/run.py wrote.

    python -m benchmarks.emoji.report --rows docs/results/emoji/rows.jsonl --out docs/results/emoji
    python -m benchmarks.pages.write docs/results/emoji/tables.md

The second command writes the tables, always all of them.
Needs matplotlib: pip install -e ".[bench]".
"""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from benchmarks.common.options import command_line
from benchmarks.common.record import command_of, read_rows, write_json
from benchmarks.emoji import run
from benchmarks.emoji.charts import (
    chart_difficulty,
    chart_front,
    chart_guidance,
    chart_moving,
    chart_samplers,
    chart_timesteps,
)
from benchmarks.emoji.page import TABLES, record
from benchmarks.emoji.rows import Rows

ACROSS = {"difficulty": (3, chart_difficulty), "front": (2, chart_front)}
"""Charts that take a line of axes for each size: how many, and what draws them."""
SINGLE = {
    "timesteps": chart_timesteps,
    "samplers": chart_samplers,
    "guidance": chart_guidance,
    "moving": chart_moving,
}


def draw(name: str, rows: Rows, path: Path) -> None:
    """One chart a table, of the sizes that it has results for."""
    sizes = [size for size in rows.sizes() if TABLES[name][1](rows, size)[1]]
    if name in ACROSS:
        columns, chart_line = ACROSS[name]
        figure, axes = _axes(len(sizes), columns, (14, 4.2 * len(sizes)))
        for line, size in zip(axes, sizes, strict=True):
            chart_line(rows, list(line), size)
    else:
        columns = min(2, len(sizes))
        lines = -(-len(sizes) // columns)
        figure, axes = _axes(lines, columns, (7 * columns, 4.5 * lines))
        for place, size in zip(axes.flat, sizes, strict=False):
            SINGLE[name](rows, place, size)
        for place in axes.flat[len(sizes) :]:
            place.axis("off")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _axes(lines: int, columns: int, inches: tuple[float, float]) -> tuple[plt.Figure, np.ndarray]:
    """A figure of that many places, (lines, columns)."""
    return plt.subplots(lines, columns, figsize=inches, squeeze=False, layout="constrained")


def main() -> None:
    """Write NAME.json and NAME.png of each table."""
    parser = command_line(__doc__, out="docs/results/emoji", device=False)
    parser.add_argument("--rows", type=Path, default=Path("docs/results/emoji/rows.jsonl"))
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    options = parser.parse_args()
    rows = Rows(read_rows(options.rows))
    for name in options.tables:
        entries = record(name, rows)
        if not entries:
            continue
        origins = {
            key: sorted({json.dumps(row[key]) for row in rows.rows})
            for key in ("commit", "hardware", "date", "versions", "atlas")
        }
        command = command_of(run.__file__)
        write_json(options.out / f"{name}.json", {"command": command, **origins, "rows": entries})
        draw(name, rows, options.out / f"{name}.png")
        print(f"{name}: {len(entries)} rows")


if __name__ == "__main__":
    main()
