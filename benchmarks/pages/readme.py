"""The results of the README: one table that a newcomer can decode, and what does not hold."""

import statistics

from benchmarks.common.record import Row
from benchmarks.common.tables import change, paragraph, spread, table
from benchmarks.emoji.rows import Rows
from benchmarks.emoji.samplings import SHIFTED
from benchmarks.emoji.sizes import GROUPED, LOGIT_NORMAL, SIT
from benchmarks.pages.emoji import distance, sampled

HEADER = ["what", "data", "evaluations", "distance", "seconds", "against"]
SMALL = "emoji scenes, small network, three trainings"
BUDGET = 50
"""Evaluations at which trainings and samplers are compared."""


def headline(emoji: list[Row], *reports: Row) -> str:
    """Distances and seconds: emoji rows, seconds, guided seconds, editing, XL/2's two parts."""
    seconds, guided, editing, sampling, training = reports
    rows = Rows(emoji)
    lines = [
        _sampling("default sampler", seconds),
        _sampling("default sampler, guidance 3", guided),
        _training("training with per-patch times", rows),
        _order("dual-loop sampler", rows, "dual-loop"),
        _order("look-ahead sampler", rows, "look-ahead"),
        _editing(editing),
        _speed("sampling 64 images, dual-loop", sampling, "dual-loop"),
        _speed("one training step of 128 images", training, "training, LTG"),
    ]
    shifted = sampled(rows, "dual-loop", BUDGET, SHIFTED)
    return "\n".join(
        [
            table(HEADER, lines),
            paragraph(
                "*Distance* is the Fréchet distance of 10,000 samples (1,000 edits) to real "
                "scenes, in the features of the benchmark's own network; lower is better.",
                f"Real against real is {shifted[0]['floor']:.0f}.",
                "± is the standard deviation of three trainings, and brackets hold 95 % intervals.",
                "*Evaluations* are runs of the network per image, guidance included; *seconds* "
                "are for all images of the row.",
                "In the first two rows our steps are fitted to the model and the paper's are "
                f"equal; on shifted steps dual-loop reaches {distance(shifted):.1f}.",
                "Fewer evaluations cost accuracy: the share classified as the requested class "
                f"falls from {_cost(seconds)}, and with guidance from {_cost(guided)}.",
                f"Hardware: one {seconds['hardware']}.",
            ),
        ]
    )


def limits(emoji: list[Row]) -> str:
    """The negative results, in two lines."""
    rows = Rows(emoji)
    ahead, euler, long = (
        distance(sampled(rows, name, BUDGET)) for name in ("look-ahead", "euler", "dual-loop")
    )
    logit, grouped = (_small(rows, times) for times in (LOGIT_NORMAL, GROUPED))
    return "\n".join(
        [
            paragraph(
                "- **Samplers.** At equal evaluations dual-loop gains little over Euler "
                f"({change(long, euler)} after long training), and look-ahead loses "
                f"({change(ahead, euler)}). Choosing patches by difficulty is no better than "
                "choosing at random once steps are of second order."
            ).strip(),
            paragraph(
                "- **Training times.** One logit-normal time for the whole image does better on "
                f"these scenes than per-patch times ({spread(logit)} against {spread(grouped)})."
            ),
        ]
    )


def _cost(report: Row) -> str:
    published, ours = report["rows"][:2]
    return f"{published['accuracy']:.0%} to {ours['accuracy']:.0%}"


def _small(rows: Rows, times: str, sampler: str = "euler") -> list[float]:
    """Distances of the small networks, by training seed."""
    return [row["fd"] for row in sampled(rows, sampler, BUDGET, model=("p8", times))]


def _sampling(what: str, report: Row) -> list[str]:
    published, ours = report["rows"][:2]
    return [
        what,
        "emoji scenes, `emoji-64`",
        f"{ours['nfe']:g}",
        f"**{ours['fd']:.1f}**",
        f"{ours['seconds']:.2f}",
        f"published design, dual-loop, {published['nfe']:g} evaluations: {published['fd']:.1f} "
        f"in {published['seconds']:.2f} s",
    ]


def _training(what: str, rows: Rows) -> list[str]:
    shared = spread(_small(rows, SIT))
    numbers = [f"{BUDGET}", f"**{spread(_small(rows, GROUPED))}**", ""]
    return [what, SMALL, *numbers, f"one time per image (SiT): {shared}"]


def _order(what: str, rows: Rows, sampler: str) -> list[str]:
    runs = sampled(rows, sampler, BUDGET, model=("p8", GROUPED))
    used = statistics.mean(row["nfe"] for row in runs)
    against = f"Euler, {BUDGET} evaluations: **{spread(_small(rows, GROUPED))}**"
    return [what, SMALL, f"{used:g}", spread(row["fd"] for row in runs), "", against]


def _editing(report: Row) -> list[str]:
    ours, clock = (
        next(
            row
            for row in report["rows"]
            if (row.get("mask"), row["method"], row.get("feather")) == ("box", method, 0)
        )
        for method in ("by time", "one clock")
    )
    numbers = [f"{ours['nfe']:g}", f"**{_interval(ours['fd'])}**", ""]
    against = f"one time for all patches: {_interval(clock['fd'])}"
    return ["repainting a box", "emoji scenes, `emoji-64`", *numbers, against]


def _speed(what: str, report: Row, name: str) -> list[str]:
    timed = {row["what"]: row for row in report["rows"]}
    ours = timed[f"{name}, ours"]
    published = timed[f"{name}, published"]
    used = f"{ours['nfe']:g}" if "nfe" in ours else ""
    seconds = f"**{ours['ms'] / 1e3:.2f}**"
    against = f"published design: {published['ms'] / 1e3:.2f} s"
    return [what, f"{report['size']}, random weights", used, "", seconds, against]


def _interval(number: Row) -> str:
    low, high = number["interval"]
    return f"{number['value']:.1f} [{low:.1f}, {high:.1f}]"
