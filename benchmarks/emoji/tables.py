"""The tables of the emoji claims, from the rows that benchmarks/emoji/run.py wrote."""

import statistics
from collections import defaultdict

from benchmarks.common.record import Row
from benchmarks.common.tables import spread, table
from benchmarks.emoji.claims import best_of
from benchmarks.emoji.rows import NAMES, Rows, described, paired_change
from benchmarks.emoji.samplings import (
    BUDGETS,
    FRONT,
    FRONT_BUDGETS,
    FRONT_LONG,
    GRID,
    GUIDED_INTERVAL,
    GUIDED_SCALE,
    MOVING,
    PAPER,
    RATIOS,
    SECOND_ORDER,
    cost,
    front_of_seeds,
)
from benchmarks.emoji.sizes import GROUPED, LTG, SIT, main_timesteps


def timesteps_table(rows: Rows, size: str) -> tuple[str, list[Row]]:
    """Claim 1: what each training distribution reaches with Euler 50."""
    lines, record = [], []
    base = rows.sampled(size, SIT, "euler", 50)
    for timesteps, name in NAMES.items():
        matches = rows.sampled(size, timesteps, "euler", 50)
        if not matches:
            continue
        columns = {key: [row[key] for row in matches] for key in ("fd", "precision", "recall")}
        accuracy = [100 * row["accuracy"] for row in matches]
        change, failed = "", rows.failed(size, timesteps)
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
                str(len(matches)) + (f", {failed} more diverged" if failed else ""),
            ]
        )
        seeds = {"seeds": [row["model"]["seed"] for row in matches], "diverged": failed}
        what = {"size": size, "timesteps": timesteps, **seeds}
        record.append({**what, **columns, "accuracy": accuracy})
    if len(record) < 2:
        return "", []  # one model alone compares nothing
    header = ["training timesteps", "FD", "against SiT", "accuracy", "precision", "recall", "seeds"]
    return table(header, lines), record


def samplers_table(rows: Rows, size: str) -> tuple[str, list[Row]]:
    """Claim 2: samplers at equal evaluations."""
    lines, record = [], []
    for timesteps in (SIT, LTG, GROUPED):
        best = [best_of(size, timesteps, name, rows.rows) for name in GRID]
        specs = dict.fromkeys(("euler", *PAPER, *filter(None, best), *RATIOS, *SECOND_ORDER))
        for spec in specs:
            cells = []
            for nfe in BUDGETS:
                matches = rows.sampled(size, timesteps, spec, nfe)
                if spec in best and spec not in PAPER:  # chosen on seed 0, so not reported on it
                    matches = [row for row in matches if row["model"]["seed"] != 0]
                plain = rows.sampled(size, timesteps, "euler", nfe)
                change = "" if spec == "euler" else paired_change(matches, plain)
                cells.append(spread(row["fd"] for row in matches) + change if matches else "")
                if matches:
                    values = [row["fd"] for row in matches]
                    what = {"size": size, "timesteps": timesteps, "sampler": spec, "budget": nfe}
                    seeds = [row["model"]["seed"] for row in matches]
                    record.append({**what, "seeds": seeds, "nfe": matches[0]["nfe"], "fd": values})
            if any(cells):
                note = ", chosen" if spec in best else ""
                lines.append([NAMES[timesteps], described(spec) + note, *cells])
    header = [f"FD, {n} NFE (against euler)" for n in BUDGETS]
    return table(["trained with", "sampler", *header], lines), record


def front_table(rows: Rows, size: str) -> tuple[str, list[Row]]:
    """What few evaluations reach, beside the paper's samplers and Euler with many."""
    lines, record = [], []
    budgets = sorted({*FRONT_BUDGETS, *BUDGETS})
    many = [(spec, "uniform") for spec in ("euler", *PAPER, *RATIOS)]
    seeds = [(sampling.sampler, sampling.grid) for sampling in front_of_seeds()]
    specs = dict.fromkeys([*FRONT, *FRONT_LONG, *many, *seeds])
    for guidance, interval in ((1.0, None), (GUIDED_SCALE, list(GUIDED_INTERVAL))):
        for spec, grid in specs:
            cells = []
            for nfe in budgets:
                how = {"guidance": guidance, "interval": interval, "grid": grid}
                matches = rows.sampled(size, GROUPED, spec, nfe, **how)
                cells.append(spread(row["fd"] for row in matches) if matches else "")
                what = {"size": size, "sampler": spec, **how, "budget": nfe}
                record += [{**what, **{k: row[k] for k in _MEASURED}} for row in matches]
            if any(cells):
                where = grid.replace("shifted:shift=", "shift ")
                how_guided = (
                    "" if interval is None else f"{guidance:g}, t {interval[0]} … {interval[1]}"
                )
                lines.append([described(spec), where, how_guided, *cells])
    if not any(entry["budget"] in FRONT_BUDGETS[:-1] for entry in record):
        return "", []
    header = ["sampler", "grid", "guidance", *(f"FD, {n} NFE" for n in budgets)]
    return table(header, lines), record


_MEASURED = ("nfe", "fd", "accuracy", "precision", "recall", "seconds")


def moving_table(rows: Rows, size: str) -> tuple[str, list[Row]]:
    """What it costs to compute the moving patches alone, at equal steps."""
    lines, record = [], []
    plain: list[Row] = []
    for spec in MOVING:
        matches = rows.sampled(size, main_timesteps(size), spec, cost(spec, size))
        if not matches:
            continue
        plain = plain if "moving" in spec else matches
        change = paired_change(matches, plain) if "moving" in spec else ""
        setting = spec.partition(":")[2].replace(",", ", ").replace("=", " ").replace("_", " ")
        fd = [row["fd"] for row in matches]
        lines.append([setting, f"{matches[0]['nfe']:.1f}", spread(fd) + change])
        what = {"size": size, "sampler": spec, "nfe": matches[0]["nfe"]}
        record.append({**what, "fd": fd})
    if not any("moving" in entry["sampler"] for entry in record):
        return "", []  # nothing was left out yet
    return table(["dual-loop, 12 steps", "NFE", "FD (against computing all)"], lines), record


def difficulty_table(rows: Rows, size: str) -> tuple[str, list[Row]]:
    """Claim 3: rank correlation of predicted difficulty and true squared error, by time."""
    lines, record = [], []
    header = ["trained with", "rank correlation"]
    for timesteps in (LTG, GROUPED):
        matches = rows.of("difficulty", size, timesteps)
        if not matches:
            continue
        times = [entry["t"] for entry in matches[0]["by_time"]]
        header = ["trained with", "rank correlation", *(f"t {t}" for t in times)]
        for key, what in (("rank_correlation", "all patches"), ("within_images", "within images")):
            cells = [
                spread((row["by_time"][k][key] for row in matches), 2) for k in range(len(times))
            ]
            lines.append([NAMES[timesteps], what, *cells])
        record += [{"size": size, "timesteps": timesteps, **row} for row in matches]
    return table(header, lines), record


def guidance_table(rows: Rows, size: str) -> tuple[str, list[Row]]:
    """Claim 4: guidance scale, with and without interval, at 50 evaluations."""
    matches = [
        row
        for row in rows.rows
        if row["kind"] == "samples"
        and row["model"]["size"] == size
        and row["model"]["seed"] == 0
        and row["sampling"]["nfe"] == 50
        and row["sampling"]["grid"] == "uniform"
        and row["sampling"]["sampler"] in ("euler", *PAPER)
    ]
    guided = {(r["model"]["timesteps"], r["sampling"]["sampler"]) for r in matches}
    guided &= {
        (r["model"]["timesteps"], r["sampling"]["sampler"])
        for r in matches
        if r["sampling"]["guidance"] != 1
    }
    grouped: dict[tuple[str, str, str], dict[float, Row]] = defaultdict(dict)
    for row in matches:
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
    record = [r for r in matches if (r["model"]["timesteps"], r["sampling"]["sampler"]) in guided]
    return table(header, lines), record
