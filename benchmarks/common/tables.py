"""Tables of the pages in docs/results."""

import statistics
from collections.abc import Iterable


def spread(values: Iterable[float], digits: int = 1) -> str:
    """Mean, ± standard deviation if there is more than one."""
    numbers = list(values)
    mean = f"{statistics.mean(numbers):.{digits}f}"
    return f"{mean} ± {statistics.stdev(numbers):.{digits}f}" if len(numbers) > 1 else mean


def table(header: list[str], lines: list[list[str]]) -> str:
    """A Markdown table."""
    rule = ["---"] * len(header)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, rule, *lines]) + "\n"
