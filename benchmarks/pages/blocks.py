"""Blocks of a page that are written from JSON, and tables of numbers that come from nowhere.

    <!-- benchmarks.pages.readme:limits docs/results/emoji/rows.jsonl -->
    what the function makes of the files
    <!-- end -->

The comment names a function of the benchmarks and the files whose contents it takes, in order. So a
number in such a block is what the files say, and what stands outside of the blocks is written by
hand. A table with numbers outside of the blocks holds settings, and a comment says so:

    <!-- no measurements: settings -->
"""

import importlib
import json
import re
from pathlib import Path
from typing import Any

from benchmarks.common.record import ROOT, read_rows
from patch_forcing.core.errors import UserError

BLOCK = re.compile(
    r"^(?P<mark><!-- (?P<module>benchmarks[\w.]*):(?P<function>\w+)(?P<files>(?: [^\s>]+)+) -->\n)"
    r".*?^<!-- end -->\n",
    re.DOTALL | re.MULTILINE,
)
OPENED = re.compile(r"^<!-- (?:benchmarks\S*:.* -->|end -->)$", re.MULTILINE)
SETTINGS = re.compile(r"<!-- no measurements: \S.* -->")
NOT_NUMBERS = re.compile(r"`[^`]*`|\]\([^)]*\)")
"""Code, and where links lead."""


def pages() -> list[Path]:
    """Every page of the repository with results; the log is a notebook of its days."""
    packaged = (ROOT / "src").rglob("*.md")
    docs = (ROOT / "docs").rglob("*.md")
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(docs), *sorted(packaged)]


def contents(name: str) -> Any:
    """A JSON file of the repository, or a list of the rows of a JSONL file. Raises UserError."""
    path = ROOT / name
    if not path.is_file():
        raise UserError(f"{name} is not there")
    if path.suffix == ".jsonl":
        return read_rows(path)
    return json.loads(path.read_text(encoding="utf-8"))


def written(block: re.Match[str]) -> str:
    """The block as its function writes it now. Raises UserError."""
    module, name = block["module"], block["function"]
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(f"{module}:{name} is not there: {error}") from None
    text = function(*map(contents, block["files"].split()))
    return f"{block['mark']}{text.strip()}\n<!-- end -->\n"


def rewritten(text: str) -> str:
    """The page with every block anew. Raises UserError if a block is not whole, or its source."""
    marks = len(OPENED.findall(text))
    if marks != 2 * len(BLOCK.findall(text)):
        raise UserError(f"{marks} marks are not pairs of <!-- MODULE:FUNCTION FILES --> and end")
    return BLOCK.sub(written, text)


def unsourced(text: str) -> list[int]:
    """Lines at which tables with numbers begin that name no source."""
    outside = BLOCK.sub(lambda block: "\n" * block[0].count("\n"), text)
    lines = ["", *outside.splitlines()]
    return [
        number
        for number in range(1, len(lines))
        if lines[number].startswith("|") and not lines[number - 1].startswith("|")
        if _numbers(lines, number) and not _settings(lines, number)
    ]


def _settings(lines: list[str], first: int) -> bool:
    before = [line for line in lines[:first] if line.strip()]
    return bool(before and SETTINGS.fullmatch(before[-1]))


def _numbers(lines: list[str], first: int) -> bool:
    """Whether a digit is in the cells below the header."""
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            return False
        if re.search(r"\d", NOT_NUMBERS.sub("", line)):
            return True
    return False


def problems(page: Path) -> list[str]:
    """What is wrong with the numbers of a page, each with its mend."""
    name, text = page.relative_to(ROOT), page.read_text(encoding="utf-8")
    try:
        rewritten(text)
    except UserError as error:
        return [f"{name}: {error}"]
    faults = []
    for block in BLOCK.finditer(text):
        if written(block) != block[0]:
            line = text[: block.start()].count("\n") + 1
            faults.append(
                f"{name}:{line}: {block['module']}:{block['function']} writes it otherwise: "
                "run python -m benchmarks.pages.write"
            )
    faults += [
        f"{name}:{line}: a table with numbers names no source: put it between <!-- MODULE:FUNCTION "
        "FILES --> and <!-- end -->, or write <!-- no measurements: settings --> before it"
        for line in unsourced(text)
    ]
    return faults
