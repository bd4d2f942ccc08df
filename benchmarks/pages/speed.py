"""The tables of docs/results/speed.md."""

import statistics

from benchmarks.common.record import Row
from benchmarks.common.tables import change, made, paragraph, table
from benchmarks.emoji.samplings import MOVING
from benchmarks.speed.ratios import AGAINST_EULER, RATIOS, against_euler, times_faster

MOVING_ONLY, EXACT, LEVELS = (
    "dual-loop, moving tokens only",
    "training, exact LTG",
    "training, 8 levels",
)
SAMPLED = [what for what in RATIOS if not what.startswith("training")]
TRAINED = {
    EXACT: "exact LTG",
    LEVELS: "8 levels",
    "training, 8 levels, GELU again": "8 levels, `gelu`",
    "training, 8 levels, cheap again": "8 levels, `cheap`",
}


def in_short(*files: Row) -> str:
    """Ratios beside what they cost: XL/2, L/2, B/2, training of XL/2, moving, seconds, guided."""
    *runs, training, moving, seconds, guided = files
    trained = times_faster(training["rows"])

    def sizes(what: str) -> str:
        return ", ".join(f"{times_faster(run['rows'])[what]:.2f}" for run in runs)

    all_tokens = sizes("dual-loop, whole run")
    lines = [
        ["a forward pass of one time, XL/2, L/2 and B/2", sizes("forward, one time"), ""],
        ["… of two times", sizes("forward, two times"), ""],
        ["a whole run of Euler", sizes("Euler, whole run"), ""],
        ["a whole run of dual-loop (p 0.7, n 4), both compute all tokens", all_tokens, ""],
        ["… ours computes moving tokens only", sizes(MOVING_ONLY), cost_of_moving(moving)],
        ["a training step of XL/2, exact LTG in both", f"{trained[EXACT]:.2f}", ""],
        ["… ours with LTG of 8 levels", f"{trained[LEVELS]:.2f}", "other training times"],
        *(_fewer_evaluations(report) for report in (seconds, guided)),
    ]
    return table(["what", "times faster", "cost"], lines)


def cost_of_moving(moving: Row) -> str:
    """FD of dual-loop that computes all tokens, then of one that computes the moving ones alone."""
    fd = {row["sampler"]: row["fd"][0] for row in moving["rows"]}
    parts = []
    for fraction in ("0.7", "0.4"):
        all_tokens, *_, moving_only = (spec for spec in MOVING if f"={fraction}" in spec)
        before, after = fd[all_tokens], fd[moving_only]
        parts.append(f"{before:.1f} → {after:.1f} at p {fraction} ({change(after, before)})")
    return f"FD of emoji-64 {', '.join(parts)}"


def _fewer_evaluations(report: Row) -> list[str]:
    """Seconds for as many images as were measured, ours at a lower distance."""
    published, ours = report["rows"][:2]
    guided = "guided" if published["sampling"]["guidance"] != 1 else "not guided"
    return [
        f"{ours['samples']:,} emoji, {guided}: dual-loop with {published['nfe']:g} evaluations "
        f"(FD {published['fd']:.1f}), Adams–Bashforth with {ours['nfe']:g} (FD {ours['fd']:.1f})",
        f"{published['seconds'] / ours['seconds']:.1f}",
        f"{published['accuracy']:.0%} → {ours['accuracy']:.0%} classified as the requested class",
    ]


def sampling_ratios(*runs: Row) -> str:
    """Times faster than the published design, by size; then evaluations against Euler's."""
    names = [run["size"] for run in runs]
    faster = [times_faster(run["rows"]) for run in runs]
    lines = [[what, *(f"{ratios[what]:.2f}" for ratios in faster)] for what in SAMPLED]
    ratios_of = [against_euler(run["rows"]) for run in runs]
    costs = [[name, *(f"{ratios[name]:.3f}" for ratios in ratios_of)] for name in AGAINST_EULER]
    return "\n".join(
        [
            table(["times faster than the published design", *names], lines),
            "An evaluation of ours that computes all tokens, where Euler's takes 1:\n",
            table(["sampler", *names], costs),
        ]
    )


def training_ratios(*runs: Row) -> str:
    """Times faster than the published design with exact LTG; a line a card."""
    measured = [times_faster(run["rows"]) for run in runs]
    columns = {what: name for what, name in TRAINED.items() if any(what in row for row in measured)}
    lines = []
    for run, ratios in zip(runs, measured, strict=True):
        gib = {row["what"]: row["peak_gib"] for row in run["rows"]}
        cells = []
        for what in columns:
            ours = RATIOS[what][1]
            cells.append(f"{ratios[what]:.2f}, {gib[ours]:.1f} GiB" if what in ratios else "")
        base = f"{gib['training, LTG, published']:.1f} GiB"
        lines.append([f"{run['matrix_rate'] / 1e12:.0f}", run["commit"], base, *cells])
    header = ["TFLOP/s of one bf16 product", "commit", "published", *columns.values()]
    return table(header, lines)


def rows(*runs: Row) -> str:
    """Everything that was measured, and where each run was made."""
    header = ["size", "what", "batch", "ms", "images/s", "evaluations", "ms each", "share", "GiB"]
    measured = table(header, [_row(row) for run in runs for row in run["rows"]])
    lines = []
    for run in runs:
        rate, torch = f"{run['matrix_rate'] / 1e12:.0f}", run["versions"]["torch"]
        where = [run["hardware"], rate, torch, run["commit"], run["date"]]
        lines.append([run["size"], run["part"], *where])
    header = ["size", "part", "hardware", "TFLOP/s of one bf16 product", "torch", "commit", "date"]
    return f"{measured}\n{table(header, lines)}"


def _row(row: Row) -> list[str]:
    """A measured line: the median, and half of the spread of the repeats."""
    timing = row["timing"]
    half = 1e3 * (max(timing) - min(timing)) / 2
    return [
        row["size"],
        row["what"],
        str(row["batch"]),
        f"{row['ms']:.1f} ± {half:.1f}",
        f"{1e3 * row['batch'] / row['ms']:,.0f}",
        f"{row['nfe']:.1f}" if "nfe" in row else "",
        f"{row['ms_per_nfe']:.2f}" if "ms_per_nfe" in row else "",
        f"{row['share']:.0%}" if "share" in row else "",
        f"{row['peak_gib']:.1f}" if row.get("peak_gib") else "",
    ]


def traffic(report: Row) -> str:
    """Bytes of a block beside products and attention."""
    lines = []
    for row in report["rows"]:
        forward, backward = row["forward_gb_a_block"], row["backward_gb_a_block"]
        kept = "as torch chooses" if row["left_to_torch"] else "all but these"
        again = row["recompute_activations"]
        kept = kept if again == "none" else f"`{again}`"
        times = "8 levels" if row["times"] == 8 else "exact LTG, by 16 nodes"
        numbers = [f"{gb:.2f}" for gb in (forward, backward, forward + backward)]
        lines.append([times, kept, *numbers])
    return table(["times of an image", "kept", "forward", "backward", "both"], lines)


def seconds(*reports: Row) -> str:
    """Seconds of the bundled model, the published design first in each report."""
    lines = []
    for report in reports:
        base = report["rows"][0]
        for row in report["rows"]:
            sampler, _, options = row["sampling"]["sampler"].partition(":")
            reuse = ", guidance reused" if "reuse" in options else ""
            lines.append(
                [
                    row["what"],
                    f"{row['design']}: {sampler}{reuse}",
                    f"{row['nfe']:g}",
                    f"{row['fd']:.1f}",
                    f"{row['accuracy']:.0%}",
                    f"{row['seconds']:.2f}",
                    "" if row is base else f"{base['seconds'] / row['seconds']:.1f}",
                ]
            )
    header = ["guidance", "design and sampler", "evaluations", "FD"]
    header += ["classified as the requested class", "seconds", "times faster"]
    return f"{table(header, lines)}\n{paragraph(made(*reports))}"


def fp8(measured: list[Row]) -> str:
    """What FP8 costs in distance."""
    names = {"all of the blocks": "FP8, the first and the last MLP too"}
    lines = []
    for row in measured:
        plain = "bf16" if row["computed_in"] == "bf16" else "FP8"
        name = names.get(row.get("layers", ""), plain)
        lines.append([name, f"{row['fd']:.1f}", f"{row['accuracy']:.1%}"])
    return table(["precision", "FD", "classified as the requested class"], lines)


def channels_last(report: Row) -> str:
    """By how much the other layout is faster, the lowest and the highest of the medians."""
    medians: dict[str, list[float]] = {}
    for row in report["rows"]:
        times = statistics.median(row["times_faster"])
        medians.setdefault(row["autoencoder"], []).append(times)
    lines = [[name, f"{min(m):.2f} to {max(m):.2f}"] for name, m in medians.items()]
    return table(["autoencoder", "times faster with channels last"], lines)
