"""The pages of the emoji tables, each a function of the rows that benchmarks/emoji/run.py wrote."""

from collections.abc import Callable

from benchmarks.common.record import Row
from benchmarks.emoji.rows import GEOMETRY, Rows
from benchmarks.emoji.tables import (
    difficulty_table,
    front_table,
    guidance_table,
    moving_table,
    samplers_table,
    timesteps_table,
)

Builder = Callable[[Rows, str], tuple[str, list[Row]]]
TABLES: dict[str, tuple[str, Builder]] = {
    "timesteps": ("Training timesteps, Euler, 50 evaluations", timesteps_table),
    "samplers": ("Samplers at equal evaluations", samplers_table),
    "front": ("What few evaluations reach", front_table),
    "moving": ("Computing the moving patches alone", moving_table),
    "difficulty": ("Predicted difficulty against true squared error", difficulty_table),
    "guidance": ("Guidance, 50 evaluations in all; FD and accuracy", guidance_table),
}


def record(name: str, rows: Rows) -> list[Row]:
    """What a table shows, of all sizes, for its JSON; empty where nothing was measured."""
    return [entry for size in rows.sizes() for entry in TABLES[name][1](rows, size)[1]]


def section(name: str, rows: Rows) -> str:
    """A table for each size, below the chart; empty where nothing was measured."""
    title, build = TABLES[name]
    tables = []
    for size in rows.sizes():
        text, entries = build(rows, size)
        if entries:
            where = GEOMETRY[size]
            tables.append(f"{where[:1].upper()}{where[1:]}:\n\n{text}")
    return "\n".join([f"## {title}\n\n![{title}]({name}.png)\n", *tables]) if tables else ""


def page(rows: list[Row]) -> str:
    """All sections that the rows have results for."""
    looked_up = Rows(rows)
    return "\n".join(filter(None, (section(name, looked_up) for name in TABLES)))


def front(rows: list[Row]) -> str:
    """The one section that training seeds are compared in."""
    return section("front", Rows(rows))
