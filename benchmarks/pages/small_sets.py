"""The tables of docs/results/digits.md and docs/results/emoji.md."""

from benchmarks.common.record import Row
from benchmarks.common.tables import lowest_bold, made, paragraph, spread, table, under
from benchmarks.emoji.rows import AS_SIT, Rows
from benchmarks.emoji.samplings import BUDGETS
from benchmarks.emoji.sizes import GROUPED, LOGIT_NORMAL, LONG, LTG, SIT
from benchmarks.pages.emoji import distance, name, sampled

DIGITS = {
    "euler": "Euler",
    "random-order": "random order",
    "dual-loop": "dual-loop",
    "look-ahead": "look-ahead",
}


def digits(report: Row) -> str:
    """What the recipe takes and its samples show."""
    training, held_out = report["training"], report["classifier"]["held_out_accuracy"]
    lines = [
        [
            f"{row['guidance']:g}" if row["guidance"] != 1 else "",
            f"{row['budget']}",
            DIGITS[row["sampler"]],
            f"{row['nfe']:g}",
            f"{row['accuracy']:.1%}",
            f"{row['frechet_distance']:.0f}",
            f"{row['seconds']:.1f}",
        ]
        for row in sorted(report["rows"], key=lambda row: (row["guidance"], row["budget"]))
    ]
    header = ["guidance", "budget", "sampler", "evaluations", "right", "distance", "seconds"]
    return "\n".join(
        [
            paragraph(
                f"The recipe takes {training['seconds']:.0f} s and {training['peak_gib']:.2f} GiB "
                "on two cores, start-up and preview included.",
                f"Each row has {report['samples']} samples, 50 of a class.",
            ),
            table(header, lines),
            paragraph(
                "*Right* is the share that a support vector machine classifies as the requested "
                "class.",
                "It was trained on real scans and names "
                f"{held_out:.1%} of unseen real scans correctly.",
                "*Distance* is the Fréchet distance to the pixels of real scans.",
                f"Of {report['frechet_floor']['what']} it is "
                f"{report['frechet_floor']['distance']:.0f}.",
                "*Seconds* are for all samples of the row.",
            ),
            paragraph(
                f"{made(report)[:-1]}; one training seed; seconds are the median of "
                f"{report['repeats']} repeats."
            ),
        ]
    )


def patch_8(emoji: list[Row]) -> str:
    """Small models of patch 8: training times, and samplers at equal evaluations."""
    rows = Rows(emoji)
    lines = []
    for times, trained, samplers in (
        (SIT, "one uniform time (SiT)", ["euler"]),
        (LOGIT_NORMAL, "one logit-normal time", ["euler"]),
        (LTG, "per-patch times (LTG)", ["euler", "dual-loop", "random-order", "look-ahead"]),
        (GROUPED, "per-patch times (LTG of 8 levels)", ["euler", "dual-loop", "look-ahead"]),
    ):
        for sampler in samplers:
            how = {"model": ("p8", times)}
            cells = [spread(_fd(sampled(rows, sampler, nfe, **how))) for nfe in BUDGETS]
            lines.append([trained, name(sampler), *cells])
            trained = ""
    header = ["trained with", "sampler", *(f"{nfe} evaluations" for nfe in BUDGETS)]
    return table(header, lowest_bold(lines, 2))


def patch_4(emoji: list[Row]) -> str:
    """Small models of patch 4, whose seeds are compared one by one."""
    rows = Rows(emoji)

    def of(times: str) -> list[Row]:
        return sampled(rows, "euler", 50, model=("p4", times))

    exact = {row["model"]["seed"]: row["fd"] for row in of(LTG)}
    lines = []
    for times, trained in (
        (SIT, "one uniform time (SiT), half the learning rate"),
        (LOGIT_NORMAL, "one logit-normal time"),
        (AS_SIT, "LTG, half the learning rate"),
        (LTG, "LTG"),
        (GROUPED, "LTG of 8 levels"),
    ):
        seeds = str(len(of(times)))
        failed = rows.failed("p4", times)
        lines.append(
            [
                trained,
                spread(_fd(of(times))),
                seeds + (f", {failed} more diverged" if failed else ""),
                ", ".join(under(row["fd"], exact[row["model"]["seed"]]) for row in of(times))
                if times == GROUPED
                else "",
            ]
        )
    return table(["trained with", "distance", "seeds", "lower than LTG, each seed"], lines)


def claims(emoji: list[Row]) -> str:
    """The paper's claims on samplers and difficulty, on the bundled model."""
    rows = Rows(emoji)
    euler = {nfe: distance(sampled(rows, "euler", nfe)) for nfe in (50, 100)}
    dual = distance(sampled(rows, "dual-loop", 50))
    ahead = distance(sampled(rows, "look-ahead", 100))
    further = distance(sampled(rows, "look-ahead:context_ratio=2.0", 100))
    (difficulty,) = rows.of("difficulty", LONG, GROUPED)
    first, *_, last = difficulty["by_time"]
    return table(
        ["claim of the paper", "on emoji-64"],
        [
            [
                "dual-loop beats Euler",
                f"by {under(dual, euler[50])} at 50 evaluations; level with it or behind on the "
                "small models above",
            ],
            [
                "look-ahead beats both",
                f"no: {100 * (ahead / euler[100] - 1):.0f} % behind Euler at 100 evaluations; with "
                f"context ratio 2 level, {further:.1f} and {euler[100]:.1f}",
            ],
            [
                "predicted difficulty ranks the true errors, better as t grows",
                f"yes: rank correlation {first['rank_correlation']:.2f} at t = {first['t']}, "
                f"{last['rank_correlation']:.2f} at t = {last['t']}",
            ],
        ],
    )


def training(emoji: list[Row]) -> str:
    """How the bundled model was trained."""
    (row,) = Rows(emoji).of("training", LONG, GROUPED)
    recipe, rate = row["recipe"], row["images_per_second"]
    minutes = recipe["steps"] * recipe["batch_size"] / rate / 60
    return paragraph(
        "The bundled model `emoji-64` has 19 M weights and was trained with LTG of 8 levels, for "
        f"{recipe['steps']:,} steps of {recipe['batch_size']}.",
        f"That is {minutes:.0f} minutes at {rate:,.0f} images a second, the rate of one "
        f"{row['hardware']}.",
    )


def measured(emoji: list[Row]) -> str:
    """Where and when."""
    return paragraph(made(*(row for row in emoji if row["kind"] == "samples")))


def _fd(rows: list[Row]) -> list[float]:
    return [row["fd"] for row in rows]
