"""Tables and charts of the emoji claims, from the rows that benchmarks/emoji.py wrote.

    python benchmarks/emoji_report.py --rows docs/results/emoji/rows.jsonl --out docs/results/emoji

Needs matplotlib: pip install -e ".[bench]".
"""

import argparse
import json
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from emoji import BUDGETS, GRID, GROUPED, LTG, MOVING, PAPER, RATIOS_AT_P4, SIT, best_of, cost
from emoji_measure import Row

NAMES = {
    SIT: "shared uniform (SiT)",
    "shared-logit-normal": "shared logit-normal",
    "independent-uniform": "independent uniform",
    "mean-controlled:sharpness=1": "mean-controlled, sharpness 1",
    "mean-controlled:sharpness=4": "mean-controlled, sharpness 4",
    "mean-controlled:sharpness=10": "mean-controlled, sharpness 10",
    "tg": "TG",
    LTG: "LTG",
    "ltg:levels=4": "LTG, K = 4",
    GROUPED: "LTG, K = 8",
    "ltg:levels=16": "LTG, K = 16",
    "ltg:levels=32": "LTG, K = 32",
}
GEOMETRY = {"p8": "patch 8, 64 tokens", "p4": "patch 4, 256 tokens"}
COLOURS = {"euler": "#4c72b0", "random-order": "#937860", "dual-loop": "#dd8452"}
COLOURS |= {"look-ahead": "#55a868"}


def spread(values: Iterable[float], digits: int = 1) -> str:
    """Mean, ± standard deviation if there is more than one."""
    found = list(values)
    mean = f"{statistics.mean(found):.{digits}f}"
    return f"{mean} ± {statistics.stdev(found):.{digits}f}" if len(found) > 1 else mean


def table(header: list[str], lines: list[list[str]]) -> str:
    """A Markdown table."""
    rule = ["---"] * len(header)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, rule, *lines]) + "\n"


def kind(sampler: str) -> str:
    """Its name without options."""
    return sampler.partition(":")[0]


def paired_change(found: list[Row], base: list[Row]) -> str:
    """Mean change of the distance against `base` on the same seeds, which share their weights."""
    before = {row["model"]["seed"]: row["fd"] for row in base}
    both = [(row["fd"], before.get(row["model"]["seed"])) for row in found]
    ratios = [fd / base for fd, base in both if base]
    return f" ({100 * (statistics.mean(ratios) - 1):+.1f}%)" if ratios else ""


class Rows:
    """The results, by what they are of."""

    def __init__(self, rows: list[Row]):
        self.rows = rows

    def sampled(self, size: str, timesteps: str, sampler: str, nfe: int, **more: Any) -> list[Row]:
        """One row a seed: samples without guidance, unless `more` says otherwise."""
        wanted = {"sampler": sampler, "nfe": nfe, "guidance": 1.0, "interval": None, **more}
        return [row for row in self.of("samples", size, timesteps) if row["sampling"] == wanted]

    def of(self, what: str, size: str, timesteps: str) -> list[Row]:
        """Rows of a kind, of models of that size and distribution, by seed."""
        found = [
            row
            for row in self.rows
            if row["kind"] == what
            and row["model"]["size"] == size
            and row["model"]["timesteps"] == timesteps
        ]
        return sorted(found, key=lambda row: row["model"]["seed"])

    def sizes(self) -> list[str]:
        """Those that have samples."""
        return [size for size in GEOMETRY if any(r["model"]["size"] == size for r in self.rows)]


def timesteps_table(rows: Rows, size: str) -> tuple[str, list[Row]]:
    """Claim 1: what each training distribution reaches with Euler 50."""
    lines, record = [], []
    base = rows.sampled(size, SIT, "euler", 50)
    for timesteps, name in NAMES.items():
        found = rows.sampled(size, timesteps, "euler", 50)
        if not found:
            continue
        columns = {key: [row[key] for row in found] for key in ("fd", "precision", "recall")}
        accuracy = [100 * row["accuracy"] for row in found]
        change = ""
        if base and timesteps != SIT:
            ratio = statistics.mean(columns["fd"]) / statistics.mean(r["fd"] for r in base)
            change = f"{100 * (ratio - 1):+.0f}%"
        lines.append(
            [
                name,
                spread(columns["fd"]),
                change,
                spread(accuracy) + "%",
                spread(columns["precision"], 2),
                spread(columns["recall"], 2),
                str(len(found)),
            ]
        )
        record.append({"size": size, "timesteps": timesteps, **columns, "accuracy": accuracy})
    header = ["training timesteps", "FD", "against SiT", "accuracy", "precision", "recall", "seeds"]
    return table(header, lines), record


def samplers_table(rows: Rows, size: str) -> tuple[str, list[Row]]:
    """Claim 2: samplers at equal evaluations."""
    lines, record = [], []
    for timesteps in (SIT, LTG, GROUPED):
        best = [best_of(size, timesteps, name, rows.rows) for name in GRID]
        specs = dict.fromkeys(("euler", *PAPER, *filter(None, best), *RATIOS_AT_P4))
        for spec in specs:
            cells = []
            for nfe in BUDGETS:
                found = rows.sampled(size, timesteps, spec, nfe)
                if spec in best and spec not in PAPER:  # chosen on seed 0, so not reported on it
                    found = [row for row in found if row["model"]["seed"] != 0]
                plain = rows.sampled(size, timesteps, "euler", nfe)
                change = "" if spec == "euler" else paired_change(found, plain)
                cells.append(spread(row["fd"] for row in found) + change if found else "")
                if found:
                    values = [row["fd"] for row in found]
                    what = {"size": size, "timesteps": timesteps, "sampler": spec, "budget": nfe}
                    record.append({**what, "nfe": found[0]["nfe"], "fd": values})
            if any(cells):
                setting = spec.partition(":")[2].replace(",", ", ").replace("=", " ")
                note = f" ({setting.replace('_', ' ')})" if setting else ""
                note += ", chosen" if spec in best else ""
                lines.append([NAMES[timesteps], kind(spec) + note, *cells])
    header = [f"FD, {n} NFE (against euler)" for n in BUDGETS]
    return table(["trained with", "sampler", *header], lines), record


def moving_table(rows: Rows, size: str) -> tuple[str, list[Row]]:
    """What it costs to compute the moving patches alone, at equal steps."""
    lines, record = [], []
    plain: list[Row] = []
    for spec in MOVING:
        found = rows.sampled(size, LTG, spec, cost(spec, size))
        if not found:
            continue
        plain = plain if "moving" in spec else found
        change = paired_change(found, plain) if "moving" in spec else ""
        setting = spec.partition(":")[2].replace(",", ", ").replace("=", " ").replace("_", " ")
        fd = [row["fd"] for row in found]
        lines.append([setting, f"{found[0]['nfe']:.1f}", spread(fd) + change])
        what = {"size": size, "sampler": spec, "nfe": found[0]["nfe"]}
        record.append({**what, "fd": fd})
    return table(["dual-loop, 12 steps", "NFE", "FD (against computing all)"], lines), record


def difficulty_table(rows: Rows, size: str) -> tuple[str, list[Row]]:
    """Claim 3: rank correlation of predicted difficulty and true squared error, by time."""
    lines, record = [], []
    header = ["trained with", "rank correlation"]
    for timesteps in (LTG, GROUPED):
        found = rows.of("difficulty", size, timesteps)
        if not found:
            continue
        times = [entry["t"] for entry in found[0]["by_time"]]
        header = ["trained with", "rank correlation", *(f"t {t}" for t in times)]
        for key, what in (("rank_correlation", "all patches"), ("within_images", "within images")):
            cells = [
                spread((row["by_time"][k][key] for row in found), 2) for k in range(len(times))
            ]
            lines.append([NAMES[timesteps], what, *cells])
        record += [{"size": size, "timesteps": timesteps, **row} for row in found]
    return table(header, lines), record


def guidance_table(rows: Rows, size: str) -> tuple[str, list[Row]]:
    """Claim 4: guidance scale, with and without interval, at 50 evaluations."""
    found = [
        row
        for row in rows.rows
        if row["kind"] == "samples"
        and row["model"]["size"] == size
        and row["model"]["seed"] == 0
        and row["sampling"]["nfe"] == 50
        and row["sampling"]["sampler"] in ("euler", *PAPER)
        and row["model"]["timesteps"] in (SIT, LTG)
    ]
    guided = {(r["model"]["timesteps"], r["sampling"]["sampler"]) for r in found}
    guided &= {
        (r["model"]["timesteps"], r["sampling"]["sampler"])
        for r in found
        if r["sampling"]["guidance"] != 1
    }
    grouped: dict[tuple[str, str, str], dict[float, Row]] = defaultdict(dict)
    for row in found:
        pair = (row["model"]["timesteps"], row["sampling"]["sampler"])
        interval = row["sampling"]["interval"]
        where = f"t {interval[0]} … {interval[1]}" if interval else "everywhere"
        if pair in guided:
            grouped[(*pair, where)][row["sampling"]["guidance"]] = row
            if row["sampling"]["guidance"] == 1:  # the same point starts both curves
                grouped[(*pair, "t 0.1 … 0.8")][1.0] = row
    scales = sorted({scale for by_scale in grouped.values() for scale in by_scale})
    lines = [
        [
            NAMES[timesteps],
            sampler,
            where,
            *(
                f"{by_scale[s]['fd']:.1f}, {by_scale[s]['accuracy']:.0%}" if s in by_scale else ""
                for s in scales
            ),
        ]
        for (timesteps, sampler, where), by_scale in sorted(grouped.items())
    ]
    header = ["trained with", "sampler", "guided", *(f"scale {scale:g}" for scale in scales)]
    record = [r for r in found if (r["model"]["timesteps"], r["sampling"]["sampler"]) in guided]
    return table(header, lines), record


# charts ---------------------------------------------------------------------------------------


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
    curves: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for entry in record:
        if entry["timesteps"] in (SIT, LTG) and ":" not in entry["sampler"]:
            curves[entry["timesteps"], entry["sampler"]].append(entry)
    for (timesteps, sampler), entries in curves.items():
        axes.errorbar(
            [entry["nfe"] for entry in entries],
            [statistics.mean(entry["fd"]) for entry in entries],
            [statistics.stdev(e["fd"]) if len(e["fd"]) > 1 else 0 for e in entries],
            label="SiT, euler" if timesteps == SIT else f"LTG, {sampler}",
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
    """Calibration, rank correlation, and what context does, of LTG, mean over seeds."""
    found = rows.of("difficulty", size, LTG)
    if not found:
        return
    colours = plt.get_cmap("viridis")
    for k, entry in enumerate(found[0]["by_time"]):
        if k % 2 == 0:
            axes[0].plot(entry["predicted"], entry["true"], ".-", color=colours(entry["t"]))
    ends = [value for entry in found[0]["by_time"] for value in entry["predicted"]]
    low, high = min(ends), max(ends)
    axes[0].axline((low, low), (high, high), color="k", linestyle=":", linewidth=1)
    axes[0].set(xscale="log", yscale="log", xlabel="predicted variance", ylabel="squared error")
    axes[0].set_title("calibration, deciles (bright: late)")
    times = [entry["t"] for entry in found[0]["by_time"]]
    for key, label in (("rank_correlation", "all patches"), ("within_images", "within images")):
        means = [
            statistics.mean(row["by_time"][k][key] for row in found) for k in range(len(times))
        ]
        axes[1].plot(times, means, "o-", label=label)
    axes[1].set(xlabel="t", ylabel="rank correlation", ylim=(0, 1))
    axes[1].legend()
    for t in (0.1, 0.2, 0.3, 0.4, 0.5):
        entries = [entry for entry in found[0]["by_context"] if entry["t"] == t]
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


def chart_guidance(rows: Rows, axes: plt.Axes, size: str) -> None:
    """Distance against scale; dashed inside the interval only."""
    _, found = guidance_table(rows, size)
    curves: dict[tuple[str, str, bool], list[tuple[float, float]]] = defaultdict(list)
    for row in found:
        sampling, timesteps = row["sampling"], row["model"]["timesteps"]
        for inside in (True, False):
            if sampling["guidance"] == 1 or bool(sampling["interval"]) == inside:
                point = (sampling["guidance"], row["fd"])
                curves[timesteps, sampling["sampler"], inside].append(point)
    for (timesteps, sampler, inside), points in curves.items():
        if len(points) > 1:  # the others were not guided there
            label = "SiT, euler" if timesteps == SIT else f"LTG, {sampler}"
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


Builder = Callable[[Rows, str], tuple[str, list[Row]]]
TABLES: dict[str, tuple[str, Builder]] = {
    "timesteps": ("Training timesteps, Euler, 50 evaluations", timesteps_table),
    "samplers": ("Samplers at equal evaluations", samplers_table),
    "moving": ("Computing the moving patches alone", moving_table),
    "difficulty": ("Predicted difficulty against true squared error", difficulty_table),
    "guidance": ("Guidance, 50 evaluations in all; FD and accuracy", guidance_table),
}


def draw(name: str, rows: Rows, path: Path) -> None:
    """One chart a table, of the sizes that it has results for."""
    sizes = [size for size in rows.sizes() if TABLES[name][1](rows, size)[1]]
    if name == "difficulty":
        figure, axes = plt.subplots(
            len(sizes), 3, figsize=(14, 4.2 * len(sizes)), squeeze=False, layout="constrained"
        )
        for line, size in zip(axes, sizes, strict=True):
            chart_difficulty(rows, list(line), size)
    else:
        chart = {
            "timesteps": chart_timesteps,
            "samplers": chart_samplers,
            "guidance": chart_guidance,
            "moving": chart_moving,
        }[name]
        figure, axes = plt.subplots(
            1, len(sizes), figsize=(6.5 * len(sizes), 4.5), squeeze=False, layout="constrained"
        )
        for place, size in zip(axes[0], sizes, strict=True):
            chart(rows, place, size)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Write NAME.json, NAME.png and one page of tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=Path, default=Path("docs/results/emoji/rows.jsonl"))
    parser.add_argument("--out", type=Path, default=Path("docs/results/emoji"))
    options = parser.parse_args()
    lines = options.rows.read_text(encoding="utf-8").splitlines()
    rows = Rows([json.loads(line) for line in lines])
    options.out.mkdir(parents=True, exist_ok=True)
    page = []
    for name, (title, build) in TABLES.items():
        record, tables = [], []
        for size in rows.sizes():
            text, entries = build(rows, size)
            record += entries
            if entries:
                tables.append(f"{GEOMETRY[size].capitalize()}:\n\n{text}")
        if not record:
            continue
        page += [f"## {title}\n\n![{title}]({name}.png)\n", *tables]
        provenance = {
            key: sorted({json.dumps(row[key]) for row in rows.rows})
            for key in ("commit", "hardware", "date", "versions", "atlas")
        }
        report = {"command": "python benchmarks/emoji.py", **provenance, "rows": record}
        text = json.dumps(report, indent=1) + "\n"
        (options.out / f"{name}.json").write_text(text, encoding="utf-8")
        draw(name, rows, options.out / f"{name}.png")
    (options.out / "tables.md").write_text("\n".join(page), encoding="utf-8")
    print("\n".join(page))


if __name__ == "__main__":
    main()
