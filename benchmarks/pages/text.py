"""The tables of a page on text to image, from the rows of benchmarks/text."""

from collections.abc import Callable
from typing import Any

from scipy.stats import binomtest

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
USUAL = "adams-bashforth"
MAIN = f"{USUAL} 48"
"""By which steps and guidance are compared."""
BY = (3.0, [0.0, 0.8], "shifted:shift=3")
"""Guidance, its interval and steps by which samplers are compared."""
KINDS = {"seen": "trained on", "unseen": "never trained on"}


def judge(report: Row) -> str:
    """How often the judge reads real scenes right."""
    lines = [
        [KINDS[kind], *(f"{100 * shares[question]:.2f} %" for question in QUESTIONS)]
        for kind, shares in report["real"].items()
    ]
    about = f"{report['counted']:,} real scenes of each kind. {made(report)}"
    return f"{table(['combinations', *QUESTIONS.values()], lines)}\n{paragraph(about)}"


def samplers(rows: list[Row]) -> str:
    """How many samples show what their prompt says, at equal evaluations, by kind of prompt."""
    own = [row for row in rows if _setting(row) == BY]
    own.sort(key=lambda row: -round(row["nfe"] / 12))  # many evaluations first
    return _tables(own, ["sampler", "evaluations"], _sampler)


def card(rows: list[Row]) -> str:
    """What a model's card shows: the usual sampler at each budget, on combinations never seen."""
    own = [
        row
        for row in rows
        if _setting(row) == BY and row["kind"] == "unseen" and row["sampler"].startswith(USUAL)
    ]
    own.sort(key=lambda row: -row["nfe"])
    return _tables(own, ["sampler", "evaluations"], _sampler)


def settings(rows: list[Row]) -> str:
    """The same by steps and guidance, of one sampler."""
    own = [row for row in rows if row["sampler"] == MAIN]
    header = ["guidance", "steps", "evaluations"]
    return _tables(
        own, header, lambda row: [_guidance(row), row["grid"] or "the model's", _nfe(row)]
    )


def _tables(rows: list[Row], header: list[str], way: Callable[[Row], list[str]]) -> str:
    """A section for each kind of prompts that has rows."""
    parts = []
    for kind in KINDS:
        own = [row for row in rows if row["kind"] == kind]
        if own:
            lines = [[*way(row), *_shares(row)] for row in own]
            parts.append(f"### Combinations {KINDS[kind]}\n\n")
            parts.append(table([*header, *QUESTIONS.values()], lines) + "\n")
    prompts = " and ".join(f"{n:,}" for n in sorted({row["prompts"] for row in rows}))
    about = f"Percent of {prompts} prompts a line; brackets hold 95 % intervals. {made(*rows)}"
    return "".join(parts) + paragraph(about)


def _setting(row: Row) -> tuple[Any, ...]:
    return row["guidance"], row["interval"], row["grid"]


def _sampler(row: Row) -> list[str]:
    sampler = row["sampler"].rpartition(" ")
    return [name(sampler[0] or sampler[2]), _nfe(row)]


def _nfe(row: Row) -> str:
    return f"{row['nfe']:g}"


def _guidance(row: Row) -> str:
    if row["guidance"] is None:
        return "as recommended"
    low, high = row["interval"]
    return f"{row['guidance']:g} at t {low:g} … {high:g}"


def _shares(row: Row) -> list[str]:
    return [_share(row["shares"][question], row["asked"][question]) for question in QUESTIONS]


def _share(share: float, asked: int) -> str:
    """With Wilson's interval, which holds at 100 % too."""
    interval = binomtest(round(share * asked), asked).proportion_ci(method="wilson")
    return f"{100 * share:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
