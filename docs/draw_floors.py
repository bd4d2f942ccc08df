"""Draws the floors of the package: its folders as rooms, and their imports as arrows.

    python docs/draw_floors.py        # writes docs/images/floors.png

The floors are those that the linter checks (pyproject.toml). Imports are read from the source. An
arrow is left out if others imply it, and red if it does not go down: then the exit status is 1.
"""

import argparse
import ast
import json
import textwrap
import tomllib
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

ROOT = Path(__file__).parent.parent
WIDTH, WALL, STAIRS, SLOT, TEXT = 14.0, 0.18, 0.42, 0.2, 1.75
"""Inches: the house; between rooms, floors and arrows; half of the text in a room."""
COLOURS = ("#dce8f6", "#e4f1e2", "#fbeed6", "#f7e1e1", "#e9e3f3", "#def0ef")
INK, FAINT, RED = "#1d2a36", "#5b6670", "#d00000"


def read_floors() -> list[list[str]]:
    """The names of the rooms on each floor, from the top floor to the ground."""
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    layers = next(c["layers"] for c in tools["importlinter"]["contracts"] if "layers" in c)
    return [[name.strip() for name in layer.split("|")] for layer in layers]


def read_sources(room: str) -> list[str]:
    """The files of a folder, `__init__.py` first, or the module that is a room by itself."""
    place = ROOT / "src/patch_forcing" / room
    files = sorted(place.rglob("*.py")) or [place.with_suffix(".py")]
    return [file.read_text(encoding="utf-8") for file in files]


def imported_rooms(room: str) -> set[str]:
    """The rooms whose modules a room imports, also those imported within functions."""
    names = set()
    for source in read_sources(room):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom):
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
    parts = [name.split(".") for name in names]
    return {part[1] for part in parts if part[0] == "patch_forcing" and len(part) > 1} - {room}


def describe(room: str, columns: int) -> list[str]:
    """The first sentence of the room's docstring, wrapped, and the room's size."""
    sources = read_sources(room)
    sentence = (ast.get_docstring(ast.parse(sources[0])) or "").replace("\n", " ").split(". ")[0]
    lines = max(100, round(sum(len(source.splitlines()) for source in sources), -2))
    files = "1 file" if len(sources) == 1 else f"{len(sources)} files"
    return [*textwrap.wrap(sentence.rstrip("."), columns), f"{files}, about {lines:,} lines"]


def draw_rooms(axes: Axes, floors: list[list[str]]) -> dict[str, tuple[float, ...]]:
    """Draws the rooms. Returns the left, right, lower and upper side of each."""
    sides, top = {}, 0.0
    for row, rooms in enumerate(floors):
        wide, colour = (WIDTH - WALL * (len(rooms) + 1)) / len(rooms), COLOURS[row % len(COLOURS)]
        notes = [describe(room, min(45, int(wide * 10.5))) for room in rooms]
        high = 0.5 + 0.17 * max(map(len, notes))
        for column, (room, note) in enumerate(zip(rooms, notes, strict=True)):
            left = WALL + column * (wide + WALL)
            sides[room] = (left, left + wide, top - high, top)
            shape = FancyBboxPatch((left, top - high), wide, high, "round,pad=0.04")
            axes.add_patch(shape).set(facecolor=colour, edgecolor=FAINT)
            style = {"x": left + wide / 2, "ha": "center", "va": "top", "zorder": 5}
            style["bbox"] = {"facecolor": colour, "edgecolor": "none", "pad": 1}
            axes.text(y=top - 0.07, s=room, size=13, weight="bold", color=INK, **style)
            axes.text(y=top - 0.33, s="\n".join(note), size=9, color=FAINT, **style)
        top -= high + STAIRS
    axes.set(xlim=(0, WIDTH), ylim=(top + STAIRS - 0.2, 0.2), xticks=[], yticks=[])
    return sides


def draw_arrows(axes: Axes, sides: dict[str, tuple], imports: dict[str, set]) -> list[str]:
    """Draws arrows beside each other and beside text. Returns those that do not go down."""
    boxes, upward = sides.values(), []
    taken = [((a + b) / 2, *height, min(TEXT, 0.43 * (b - a))) for a, b, *height in boxes]
    for room, other in ((room, other) for room in imports for other in sides):
        (left, right, start, _), (other_left, other_right, _, end) = sides[room], sides[other]
        implied = any(other in imports[between] for between in imports[room])
        if other not in imports[room] or (implied and start > end):
            continue
        low, high = max(left, other_left) + WALL, min(right, other_right) - WALL
        places = {}  # how much is in the way, and how far from the middle
        for x in [low + SLOT * i for i in range(int((high - low) / SLOT) + 1)] or [low]:
            near = [abs(x - y) < gap and a < start and b > end for y, a, b, gap in taken]
            places[x] = (sum(near), abs(x - (left + right) / 2))
        x = min(places, key=places.__getitem__)
        taken.append((x, end, start, SLOT))
        tail = (min(max(x, left + WALL), right - WALL), start - 0.04)
        head = (min(max(x, other_left + WALL), other_right - WALL), end + 0.04)
        style = {"color": INK if start > end else RED, "arrowstyle": "-|>", "lw": 1.3, "shrinkB": 0}
        axes.annotate("", head, tail, arrowprops=style)
        axes.plot(*tail, "o", color=style["color"], markersize=4)
        upward += [f"{room} -> {other}"] * (start <= end)
    return upward


def main() -> None:
    """Writes the picture, and names the arrows that do not go down."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs/images/floors.png")
    floors, figure = read_floors(), Figure()
    axes = figure.add_axes((0, 0, 1, 1), frameon=False)
    sides = draw_rooms(axes, floors)
    upward = draw_arrows(axes, sides, {room: imported_rooms(room) & {*sides} for room in sides})
    figure.set_size_inches(WIDTH, axes.viewLim.height)
    figure.savefig(parser.parse_args().out, dpi=100, metadata={"floors": json.dumps(floors)})
    raise SystemExit(f"not downwards: {', '.join(upward)}" if upward else 0)


if __name__ == "__main__":
    main()
