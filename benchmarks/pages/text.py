"""The tables of a page on text to image, from the rows of benchmarks/text."""

from benchmarks.common.record import Row
from benchmarks.common.tables import made, paragraph, table
from benchmarks.pages.emoji import name

QUESTIONS = {
    "object": "the thing is there",
    "colour": "background",
    "count": "count",
    "relation": "relation",
    "all": "all right",
}
"""Of the judge, and how readers know them."""
KINDS = {"seen": "trained on", "unseen": "never trained on"}


def judge(report: Row) -> str:
    """How often the judge reads real scenes right."""
    lines = [
        [KINDS[kind], *(f"{100 * shares[question]:.2f} %" for question in QUESTIONS)]
        for kind, shares in report["real"].items()
    ]
    about = f"{report['counted']:,} real scenes of each kind. {made(report)}"
    return f"{table(['combinations', *QUESTIONS.values()], lines)}\n{paragraph(about)}"


def drawn(rows: list[Row]) -> str:
    """Shares of samples that show what their prompt says, a line for each way of sampling."""
    header = ["model", "sampler", "guidance", "steps", "evaluations", "combinations"]
    lines = [[*_way(row), KINDS[row["kind"]], *_shares(row)] for row in rows]
    prompts = " and ".join(f"{n:,}" for n in sorted({row["prompts"] for row in rows}))
    about = f"{prompts} prompts a line; ± is half the width of a 95 % interval. {made(*rows)}"
    return f"{table([*header, *QUESTIONS.values()], lines)}\n{paragraph(about)}"


def _way(row: Row) -> list[str]:
    sampler = row["sampler"].rpartition(" ")
    guidance = "as recommended"
    if row["guidance"] is not None:
        low, high = row["interval"]
        guidance = f"{row['guidance']:g} at t {low:g} … {high:g}"
    return [
        row["model"],
        name(sampler[0] or sampler[2]),
        guidance,
        row["grid"] or "the model's",
        f"{row['nfe']:g}",
    ]


def _shares(row: Row) -> list[str]:
    return [
        f"{100 * row['shares'][question]:.1f} ± {100 * row['widths'][question]:.1f}"
        for question in QUESTIONS
    ]
