"""Tables of the pages in docs/results, and how numbers are written there."""

import html
import statistics
import textwrap
from collections.abc import Iterable

from benchmarks.common.record import Row


def spread(values: Iterable[float], digits: int = 1) -> str:
    """Mean, ± standard deviation if there is more than one; empty if there is none."""
    numbers = list(values)
    if not numbers:
        return ""
    mean = f"{statistics.mean(numbers):.{digits}f}"
    return f"{mean} ± {statistics.stdev(numbers):.{digits}f}" if len(numbers) > 1 else mean


def change(new: float, old: float, digits: int = 0) -> str:
    """By how many percent, with its sign where it is not 0."""
    text = f"{100 * (new / old - 1):+.{digits}f}"
    return f"{text if float(text) else text[1:]} %".replace("-", "−")


def under(new: float, old: float) -> str:
    """By how many percent it is less, without a sign."""
    return f"{100 * (1 - new / old):.0f} %"


def lowest_bold(lines: list[list[str]], first: int) -> list[list[str]]:
    """The lines, with the lowest shown number of each column from `first` on in bold."""

    def number(cell: str) -> float:
        return float(cell.split()[0])

    best = {}
    for column in range(first, len(lines[0])):
        cells = [number(line[column]) for line in lines if line[column]]
        best[column] = min(cells, default=0.0)
    return [
        [
            f"**{cell}**" if column in best and cell and number(cell) == best[column] else cell
            for column, cell in enumerate(line)
        ]
        for line in lines
    ]


def table(header: list[str], lines: list[list[str]]) -> str:
    """A Markdown table."""
    rule = ["---"] * len(header)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, rule, *lines]) + "\n"


def folded(title: str, points: Iterable[str]) -> str:
    """A list that its title opens, on the site and on a git host."""
    items = "\n".join(f"- {point}" for point in points)
    summary = f"<summary>{html.escape(title, quote=False)}</summary>"
    return f'<details markdown="1">\n{summary}\n\n{items}\n\n</details>\n'


def paragraph(*sentences: str) -> str:
    """Sentences, in lines of the width that pages have."""
    text = " ".join(sentences)
    return textwrap.fill(text, 130, break_long_words=False, break_on_hyphens=False) + "\n"


def made(*reports: Row) -> str:
    """Where and when they were measured: hardware, torch, dates and commits, each once."""
    hardware = [report["hardware"] for report in reports]
    torch = [f"torch {report['versions']['torch']}" for report in reports]
    dates = sorted(report["date"] for report in reports if "date" in report)
    commits = [report["commit"] for report in reports]
    named = list(dict.fromkeys(commits))
    what = "commit" if len(named) == 1 else "commits"
    facts = [*dict.fromkeys([*hardware, *torch, *dates]), f"{what} {', '.join(named)}"]
    return "; ".join(facts) + "."
