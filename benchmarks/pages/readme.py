"""The tables of the README's results, and its sentences that rest on their numbers."""

from benchmarks.common.record import Row
from benchmarks.common.tables import lowest_bold, made, paragraph, spread, table, under
from benchmarks.emoji.rows import AS_SIT, Rows
from benchmarks.emoji.samplings import AB2, BUDGETS, FRONT_BUDGETS, REUSING, SHIFTED
from benchmarks.emoji.sizes import GROUPED, LOGIT_NORMAL, LONG, LTG, SIT
from benchmarks.pages.emoji import GRIDS, distance, distances, name, sampled

DIGITS = {
    "euler": "Euler (parallel)",
    "random-order": "random order",
    "dual-loop": "dual-loop",
    "look-ahead": "look-ahead",
}
FRONT = [  # sampler and grid, of emoji-64
    *((sampler, "uniform") for sampler in ("euler", "random-order", "dual-loop", "look-ahead")),
    ("euler", SHIFTED),
    ("dual-loop", SHIFTED),
    *((AB2, grid) for grid in ("uniform", SHIFTED, "fitted")),
    ("multirate", SHIFTED),
    ("multirate:rank=random", SHIFTED),
]
GUIDED = [
    ("euler", "uniform", (50,)),
    ("dual-loop", "uniform", (50,)),
    (AB2, "fitted", (6, 8, 12)),
    (REUSING, "fitted", (8, 12)),
]


def digits(report: Row) -> str:
    """What the recipe takes and its samples show."""
    training, held_out = report["training"], report["classifier"]["held_out_accuracy"]
    rows = {(row["sampler"], row["budget"], row["guidance"]): row for row in report["rows"]}
    settings = list(dict.fromkeys((budget, guidance) for _, budget, guidance in rows))
    lines = []
    for sampler, shown in DIGITS.items():
        cells = []
        for budget, guidance in settings:
            row = rows[sampler, budget, guidance]
            used = "" if row["nfe"] == budget else f" ({row['nfe']:g})"
            cells.append(f"{row['accuracy']:.1%}, {row['seconds']:.1f} s{used}")
        lines.append([shown, *cells])
    guided = [f"{b} NFE" + ("" if scale == 1 else f", guidance {scale:g}") for b, scale in settings]
    fd = {setting: rows["euler", *setting]["frechet_distance"] for setting in settings}
    return "\n".join(
        [
            paragraph(
                f"`patch-forcing train digits` takes {training['seconds']:.0f} s and "
                f"{training['peak_gib']:.2f} GiB on two cores, start-up and preview included.",
                f"The table shows {report['samples']} samples, 50 a class.",
                "It gives the share that an SVC, trained on real scans only, classifies as the "
                "requested class, and the seconds for all of them.",
                f"An SVC classifies {held_out:.1%} of the real scans correctly that it was not "
                "trained on.",
                "Samplers are compared at equal numbers of network evaluations (NFE).",
            ),
            table(["sampler", *guided], lines),
            paragraph(
                "The budget is rounded down to whole steps; brackets show the evaluations used.",
                "Accuracy alone flatters short runs, whose samples are smoother and more alike "
                "than real scans.",
                "The Fréchet distance to the scans' pixels falls from "
                f"{fd[8, 1.0]:.0f} at 8 evaluations to {fd[48, 1.0]:.0f} at 48 (Euler).",
                f"Guidance 2 raises it to {fd[48, 2.0]:.0f}; real against real is "
                f"{report['frechet_floor']['distance']:.0f}.",
                "Digits are too easy to tell the samplers apart.",
            ),
            paragraph(
                f"{made(report)[:-1]}; one training seed, median of {report['repeats']} repeats."
            ),
        ]
    )


def patch_8(emoji: list[Row]) -> str:
    """Small models of patch 8: training times, and samplers at equal evaluations."""
    rows = Rows(emoji)
    lines = []
    for times, trained, samplers in (
        (SIT, "shared times (SiT)", ["euler"]),
        (LOGIT_NORMAL, "shared logit-normal times", ["euler"]),
        (LTG, "per-patch times (LTG)", ["euler", "dual-loop", "random-order", "look-ahead"]),
        (GROUPED, "LTG of 8 levels", ["euler", "dual-loop", "look-ahead"]),
    ):
        for sampler in samplers:
            how = {"model": ("p8", times)}
            cells = [spread(_fd(sampled(rows, sampler, nfe, **how))) for nfe in BUDGETS]
            lines.append([trained, name(sampler), *cells])
            trained = ""
    header = ["trained with", "sampler", *(f"{nfe} NFE" for nfe in BUDGETS)]
    return "\n".join(
        [
            table(header, lowest_bold(lines, 2)),
            paragraph(
                "Fourteen distributions of training times were compared.",
                "LTG and its variants come before the other per-patch ones and halve SiT's "
                "distance.",
                "Shared logit-normal times, which the paper does not list, come before all.",
            ),
        ]
    )


def patch_4(emoji: list[Row]) -> str:
    """Small models of patch 4, whose seeds are compared one by one."""
    rows = Rows(emoji)

    def of(times: str) -> list[Row]:
        return sampled(rows, "euler", 50, model=("p4", times))

    exact = {row["model"]["seed"]: row["fd"] for row in of(LTG)}
    lines = []
    for times, trained in (
        (SIT, "SiT, half the learning rate"),
        (LOGIT_NORMAL, "shared logit-normal times"),
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
    return table(["trained with", "FD at 50 NFE", "seeds", "under LTG, seed by seed"], lines)


def few_evaluations(emoji: list[Row]) -> str:
    """The bundled model without guidance, and its headline."""
    rows = Rows(emoji)
    budgets = sorted({*FRONT_BUDGETS, *BUDGETS})
    lines = [
        [name(sampler), GRIDS[grid]]
        + [distances(sampled(rows, sampler, nfe, grid), nfe) for nfe in budgets]
        for sampler, grid in FRONT
    ]
    six = sampled(rows, AB2, 6, "fitted")
    dual, shifted = (sampled(rows, "dual-loop", 50, grid) for grid in ("uniform", SHIFTED))
    many = sampled(rows, "euler", 100)

    def fewer(than: list[Row]) -> str:
        return under(distance(six), distance(than))

    return "\n".join(
        [
            table(["sampler", "steps", *(f"{nfe} NFE" for nfe in budgets)], lowest_bold(lines, 2)),
            paragraph(
                "**Six evaluations of the default sampler (Adams–Bashforth, fitted steps) are "
                f"{fewer(dual)} under the paper's best sampler at 50 on equal steps,",
                f"{fewer(shifted)} under it on shifted ones, and {fewer(many)} under Euler at "
                "100.**",
                f"The share classified as the requested class is {six[0]['accuracy']:.0%}, "
                f"{dual[0]['accuracy']:.0%}, {shifted[0]['accuracy']:.0%} and "
                f"{many[0]['accuracy']:.0%}.",
                "From 12 on all second-order samplers on shifted or fitted steps are level, also "
                "those that choose patches at random.",
            ),
        ]
    )


def guided(emoji: list[Row]) -> str:
    """The bundled model with guidance, each distance beside the classified share."""
    rows = Rows(emoji)
    found = [
        (sampler, grid, sampled(rows, sampler, nfe, grid, guided=True)[0])
        for sampler, grid, budgets in GUIDED
        for nfe in budgets
    ]
    lines = [
        [name(s), GRIDS[grid], f"{row['nfe']:g}", f"{row['fd']:.1f}", f"{row['accuracy']:.0%}"]
        for s, grid, row in found
    ]
    header = ["sampler", "steps", "NFE", "FD", "classified as the requested class"]
    base, eight = found[0][2], next(row for s, _, row in found if s == REUSING)
    return "\n".join(
        [
            table(header, lines),
            paragraph(
                "Guidance reused is what `--nfe` takes by itself where it was measured to help.",
                f"With it, 8 evaluations have an FD {under(eight['fd'], base['fd'])} under Euler's "
                f"fifty; {eight['accuracy']:.0%} instead of {base['accuracy']:.0%} of the samples "
                "are classified as the requested class.",
            ),
        ]
    )


def claims(emoji: list[Row]) -> str:
    """What the paper says of samplers and difficulty, on the bundled model."""
    rows = Rows(emoji)
    euler = {nfe: distance(sampled(rows, "euler", nfe)) for nfe in (50, 100)}
    dual = distance(sampled(rows, "dual-loop", 50))
    ahead = distance(sampled(rows, "look-ahead", 100))
    further = distance(sampled(rows, "look-ahead:context_ratio=2.0", 100))
    (difficulty,) = rows.of("difficulty", LONG, GROUPED)
    first, *_, last = difficulty["by_time"]
    return paragraph(
        "What the paper claims of samplers shows with long training only, and little.",
        f"Dual-loop is {under(dual, euler[50])} ahead of Euler at 50 evaluations of emoji-64.",
        f"Look-ahead stays {100 * (ahead / euler[100] - 1):.0f} % behind at 100; with a context "
        f"ratio of 2 its FD is {further:.1f} and Euler's {euler[100]:.1f}.",
        "[LOG.md](LOG.md) says what is known of the reasons: training length matters most, pixel "
        "space a little, and smaller patches make it worse.",
        "Difficulty that emoji-64 predicts ranks the true errors of patches at "
        f"{first['rank_correlation']:.2f} (t = {first['t']}) to {last['rank_correlation']:.2f} "
        f"(t = {last['t']}).",
    )


def training(emoji: list[Row]) -> str:
    """How the bundled model was trained."""
    (row,) = Rows(emoji).of("training", LONG, GROUPED)
    recipe, rate = row["recipe"], row["images_per_second"]
    minutes = recipe["steps"] * recipe["batch_size"] / rate / 60
    return paragraph(
        "The bundled model `emoji-64` (19 M weights, LTG of 8 levels) was trained for "
        f"{recipe['steps']:,} steps of {recipe['batch_size']}.",
        f"That is {minutes:.0f} minutes at the {rate:,.0f} images a second that one "
        f"{row['hardware']} reached alone.",
        "The table gives its FD without guidance; brackets show the evaluations used where whole "
        "steps do not meet the budget.",
    )


def measured(emoji: list[Row]) -> str:
    """Where and when."""
    return paragraph(made(*(row for row in emoji if row["kind"] == "samples")))


def _fd(rows: list[Row]) -> list[float]:
    return [row["fd"] for row in rows]
