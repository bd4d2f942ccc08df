"""The reference of the commands: each page is what `--help` prints, as lists.

What a command prints is read, not its parser: so the page says what the user sees.
"""

import contextlib
import io
import os
import re
from collections.abc import Iterable
from functools import cache
from unittest.mock import patch

from patch_forcing.cli.main import COMMANDS, run

PARTS: dict[str, dict[str, list[str]]] = {
    "train": {"--list": ["--list"], "folder": ["folder", "--help"]},
    "bench": {name: [name, "--help"] for name in ("samplers", "speed", "grid")},
    "evaluate": {name: [name, "--help"] for name in ("compare", "difficulty")},
    "data": {
        "FOLDER": [".", "--help"],
        **{name: [name, "--help"] for name in ("emoji", "shards", "hub")},
    },
    "encode": {
        "FOLDER": [".", "--help"],
        **{name: [name, "--help"] for name in ("shards", "hub")},
        "FOLDER --features": [".", "--features", "x", "--help"],
    },
}
"""The further pages of commands that have several, by what is written after the command."""
COLUMNS = "120"
"""As wide as boxes of options still stand one below the other."""
OPTION = re.compile(r"^(?P<names>\S+(?:,? (?! )\S+)*)(?: {2,}(?P<help>\S.*))?$")


RECIPE = re.compile(r"(?P<name>\S+)\n +needs: +(?P<needs>.*)\n +reaches: +(?P<reaches>.*)\n")


@cache
def printed(*args: str) -> str:
    """What `patch-forcing` prints."""
    page = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with (
        patch.dict(os.environ, COLUMNS=COLUMNS),
        contextlib.redirect_stdout(page),
        contextlib.suppress(SystemExit),
    ):
        run(args)
    page.seek(0)
    return page.read()


def command_pages() -> dict[str, str]:
    """The reference of each command, by its name."""
    return {name: command_page(name) for name in COMMANDS}


def command_page(name: str) -> str:
    """The reference of one command, with its further pages."""
    sections = [
        f"# patch-forcing {name}",
        COMMANDS[name].capitalize() + ".",
        readable(printed(name, "--help")),
    ]
    for title, args in PARTS.get(name, {}).items():
        sections += [f"## {name} {title}", readable(printed(name, *args))]
    return "\n\n".join(sections) + "\n"


def readable(page: str) -> str:
    """A page of help as Markdown: its boxes of options as lists; one without boxes as it is."""
    head, *boxes = re.split(r"^(?=╭─)", page, flags=re.MULTILINE)
    recipes = [map(escaped, row) for row in RECIPE.findall(page)]
    if recipes:
        return "\n".join(["| recipe | needs | reaches |", "|---|---|---|", *map(row, recipes)])
    if not boxes:
        return f"```text\n{page.rstrip()}\n```"
    usage, _, about = head.partition("\n\n")
    about, _, example = about.partition("Such as: ")
    parts = [f"```text\n{usage.strip()}\n```", escaped(" ".join(about.split()))]
    if example:
        parts.append(f"```\n{example.strip()}\n```")
    return "\n\n".join([*filter(None, parts), *map(options, boxes)])


def options(box: str) -> str:
    """One box of options as a list of definitions, under its title and what it says of them."""
    lines = [line.strip("│").rstrip()[1:] for line in box.rstrip().split("\n")]
    title, lines = lines[0].strip("╭─╮ "), lines[1:-1]
    rule = next((number for number, line in enumerate(lines) if line.startswith("──")), -1)
    rows: list[list[str]] = []
    for line in lines[rule + 1 :]:
        option = OPTION.match(line)
        if option is not None:
            rows.append([option["names"], option["help"] or ""])
        elif rows and line.strip():
            rows[-1][1] += " " + line.strip()
    items = [
        f"`{names.replace(', ', '`, `')}`\n:   {escaped(text.strip())}"
        for names, text in rows
        if names != "-h, --help"
    ]
    about = escaped(" ".join(" ".join(lines[: max(rule, 0)]).split()))
    return "\n\n".join(filter(None, [f"**{title.capitalize()}**", about, *items]))


def row(cells: Iterable[str]) -> str:
    """One row of a table."""
    return f"| {' | '.join(cells)} |"


def escaped(text: str) -> str:
    """Text of a help page as Markdown shows it: options as code, and no empty defaults."""
    text = re.sub(r"([|<>*_\[\]])", r"\\\1", text.replace(" (default: '')", ""))
    return re.sub(r"(?<!\S)(--[a-z][a-z.-]*[a-z])", r"`\1`", text)
