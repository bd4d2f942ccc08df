"""The charts of the emoji claims, beside the tables of benchmarks/emoji/tables.py."""

import statistics
from collections import defaultdict

import matplotlib.pyplot as plt

from benchmarks.common.record import Row
from benchmarks.emoji.rows import GEOMETRY, NAMES, Rows, described, kind
from benchmarks.emoji.samplings import AB2, BUDGETS, FRONT_BUDGETS, GUIDED_SCALE
from benchmarks.emoji.sizes import SIT, is_long, main_timesteps
from benchmarks.emoji.tables import (
    front_table,
    guidance_table,
    moving_table,
    samplers_table,
    timesteps_table,
)

COLOURS = {"euler": "#4c72b0", "random-order": "#937860", "dual-loop": "#dd8452"}
COLOURS |= {"look-ahead": "#55a868", "multirate": "#8172b3", AB2: "black", "adaptive": "#c44e52"}


def chart_timesteps(rows: Rows, axes: plt.Axes, size: str) -> None:
    """One bar a distribution, one dot a seed."""
    _, record = timesteps_table(rows, size)
    record.sort(key=lambda entry: statistics.mean(entry["fd"]))
    for place, entry in enumerate(reversed(record)):
        colour = "#4c72b0" if entry["timesteps"].startswith("ltg") else "#b0b0b0"
        axes.barh(place, statistics.mean(entry["fd"]), color=colour)
        axes.plot(entry["fd"], [place] * len(entry["fd"]), "k.", markersize=4)
    axes.set_yticks(range(len(record)), [NAMES[e["timesteps"]] for e in reversed(record)])
    axes.set_xlabel("Fréchet distance, Euler 50")
    axes.set_title(GEOMETRY[size])


def chart_samplers(rows: Rows, axes: plt.Axes, size: str) -> None:
    """Distance against evaluations, LTG solid, SiT dashed; bars are one standard deviation."""
    _, record = samplers_table(rows, size)
    main = main_timesteps(size)
    curves: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for entry in record:
        if entry["timesteps"] in (SIT, main) and ":" not in entry["sampler"]:
            curves[entry["timesteps"], entry["sampler"]].append(entry)
    if len({entry["budget"] for entry in record}) == 1:
        bars = [(sampler, curve[0]["fd"]) for (_, sampler), curve in reversed(curves.items())]
        axes.barh(
            [sampler for sampler, _ in bars],
            [statistics.mean(fd) for _, fd in bars],
            color=[COLOURS[sampler] for sampler, _ in bars],
        )
        for sampler, fd in bars:
            axes.plot(fd, [sampler] * len(fd), "k.", markersize=4)
        axes.set(xlabel=f"Fréchet distance, {record[0]['budget']} evaluations")
        axes.set_title(f"{GEOMETRY[size]}; {NAMES[main]}")
        return
    for (timesteps, sampler), entries in curves.items():
        axes.errorbar(
            [entry["nfe"] for entry in entries],
            [statistics.mean(entry["fd"]) for entry in entries],
            [statistics.stdev(e["fd"]) if len(e["fd"]) > 1 else 0 for e in entries],
            label="SiT, euler" if timesteps == SIT else f"{NAMES[main]}, {sampler}",
            linestyle="--" if timesteps == SIT else "-",
            color=COLOURS[sampler],
            marker="o",
            capsize=3,
        )
    axes.set_xlabel("network evaluations")
    axes.set_ylabel("Fréchet distance")
    axes.set_title(GEOMETRY[size])
    axes.legend()


def chart_difficulty(rows: Rows, axes: list[plt.Axes], size: str) -> None:
    """Calibration, rank correlation, and what context does, mean over seeds."""
    matches = rows.of("difficulty", size, main_timesteps(size))
    if not matches:
        return
    colours = plt.get_cmap("viridis")
    for k, entry in enumerate(matches[0]["by_time"]):
        if k % 2 == 0:
            axes[0].plot(entry["predicted"], entry["true"], ".-", color=colours(entry["t"]))
    ends = [value for entry in matches[0]["by_time"] for value in entry["predicted"]]
    low, high = min(ends), max(ends)
    axes[0].axline((low, low), (high, high), color="k", linestyle=":", linewidth=1)
    axes[0].set(xscale="log", yscale="log", xlabel="predicted variance", ylabel="squared error")
    axes[0].set_title("calibration, deciles (bright: late)")
    times = [entry["t"] for entry in matches[0]["by_time"]]
    for key, label in (("rank_correlation", "all patches"), ("within_images", "within images")):
        means = [
            statistics.mean(row["by_time"][k][key] for row in matches) for k in range(len(times))
        ]
        axes[1].plot(times, means, "o-", label=label)
    axes[1].set(xlabel="t", ylabel="rank correlation", ylim=(0, 1))
    axes[1].legend()
    for t in (0.1, 0.2, 0.3, 0.4, 0.5):
        entries = [entry for entry in matches[0]["by_context"] if entry["t"] == t]
        start = entries[0]
        for key, style in (("true", "-"), ("predicted", "--")):
            axes[2].plot(
                [entry["ratio"] for entry in entries],
                [entry[key] / start[key] for entry in entries],
                style,
                color=colours(1.6 * t),
                label=f"t {t}" if key == "true" else None,
            )
    axes[2].set(xlabel="context at ratio · t", ylabel="squared error of hard patches, relative")
    axes[2].set_title("solid: true, dashed: predicted")
    axes[2].legend()


def chart_moving(rows: Rows, axes: plt.Axes, size: str) -> None:
    """Distance against what was computed, one line an easy fraction."""
    _, record = moving_table(rows, size)
    for fraction, colour in (("0.4", "#4c72b0"), ("0.7", "#dd8452")):
        entries = [e for e in record if f"easy_fraction={fraction}" in e["sampler"]]
        axes.errorbar(
            [entry["nfe"] for entry in entries],
            [statistics.mean(entry["fd"]) for entry in entries],
            [statistics.stdev(e["fd"]) if len(e["fd"]) > 1 else 0 for e in entries],
            label=f"easy fraction {fraction}",
            color=colour,
            marker="o",
            capsize=3,
        )
    axes.set(xlabel="network evaluations, 12 steps", ylabel="Fréchet distance")
    axes.set_title(GEOMETRY[size])
    axes.legend()


def chart_front(rows: Rows, axes: list[plt.Axes], size: str) -> None:
    """Distance against evaluations, left without guidance, right with it."""
    _, record = front_table(rows, size)
    for place, guided in zip(axes, (False, True), strict=True):
        curves: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for entry in record:
            noise = "random" in entry["sampler"] or "context_ratio" in entry["sampler"]
            if (entry["guidance"] != 1) == guided and not noise:
                curves[entry["sampler"], entry["grid"]].append(entry)
        if not curves:
            place.axis("off")
            continue
        for (sampler, grid), entries in curves.items():
            budgets = sorted({entry["budget"] for entry in entries})
            same = [[e for e in entries if e["budget"] == budget] for budget in budgets]
            place.plot(  # means over training seeds
                [statistics.mean(e["nfe"] for e in group) for group in same],
                [statistics.mean(e["fd"] for e in group) for group in same],
                color=COLOURS[kind(sampler)],
                linestyle="--" if "0.8" in sampler or "reuse" in sampler else "-",
                marker={"uniform": "o", "fitted": "*"}.get(grid, "s"),
                label=f"{described(sampler)}, {grid.partition(':')[0]}",
            )
        place.set(xscale="log", xlabel="network evaluations", ylabel="Fréchet distance")
        place.set_ylim(0, 110 if is_long(size) else 200)
        ticks = sorted({*FRONT_BUDGETS, *BUDGETS})
        place.set_xticks(ticks, map(str, ticks))
        place.minorticks_off()
        place.set_title(GEOMETRY[size] + (f", guided {GUIDED_SCALE:g}×" if guided else ""))
        place.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncol=3)


def chart_guidance(rows: Rows, axes: plt.Axes, size: str) -> None:
    """Distance against scale; dashed inside the interval only."""
    _, matches = guidance_table(rows, size)
    curves: dict[tuple[str, str, bool], list[tuple[float, float]]] = defaultdict(list)
    for row in matches:
        sampling, timesteps = row["sampling"], row["model"]["timesteps"]
        for inside in (True, False):
            if sampling["guidance"] == 1 or bool(sampling["interval"]) == inside:
                point = (sampling["guidance"], row["fd"])
                curves[timesteps, sampling["sampler"], inside].append(point)
    for (timesteps, sampler, inside), points in curves.items():
        if len(points) > 1:  # the others were not guided there
            label = "SiT, euler" if timesteps == SIT else f"{NAMES[timesteps]}, {sampler}"
            axes.plot(
                *zip(*sorted(points), strict=True),
                linestyle="--" if inside else "-",
                marker="s" if timesteps == SIT else "o",
                color="black" if timesteps == SIT else COLOURS[sampler],
                label=None if inside else label,
            )
    axes.set(xlabel="guidance scale (dashed: t 0.1 … 0.8 only)", ylabel="Fréchet distance")
    axes.set_title(GEOMETRY[size])
    axes.legend()
