"""The tables of the emoji claims, from the rows that benchmarks/emoji/run.py wrote."""

import statistics
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from benchmarks.emoji.claims import (
    BUDGETS,
    FRONT,
    FRONT_BUDGETS,
    FRONT_LONG,
    GRID,
    GROUPED,
    GUIDED_INTERVAL,
    GUIDED_SCALE,
    HALF_RATE,
    LONG,
    LTG,
    MOVING,
    PAPER,
    RATIOS,
    SECOND_ORDER,
    SIT,
    best_of,
    cost,
    front_of_seeds,
    main_timesteps,
)
from benchmarks.emoji.measure import Row

AS_SIT = f"{LTG}, half the learning rate"
NAMES = {
    SIT: "shared uniform (SiT)",
    "shared-logit-normal": "shared logit-normal",
    "independent-uniform": "independent uniform",
    "mean-controlled:sharpness=1": "mean-controlled, sharpness 1",
    "mean-controlled:sharpness=4": "mean-controlled, sharpness 4",
    "mean-controlled:sharpness=10": "mean-controlled, sharpness 10",
    "tg": "TG",
    LTG: "LTG",
    AS_SIT: "LTG, half the learning rate (as SiT)",
    "ltg:levels=4": "LTG, K = 4",
    GROUPED: "LTG, K = 8",
    "ltg:levels=16": "LTG, K = 16",
    "ltg:levels=32": "LTG, K = 32",
    "ltg:loc=1.6": "LTG, loc 1.6",
    "ltg:loc=0.3,std=0.1": "LTG, loc 0.3, std 0.1",
}
GEOMETRY = {
    "p8": "patch 8, 64 tokens",
    "p4": "patch 4, 256 tokens",
    "latent": "latents: whitened components of 8×8 patches, 64 tokens",
    LONG: "the model emoji-64, trained longest (patch 8)",
}


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


DIVERGED = 1000
"""A distance above it is of noise: it counts as a seed that failed, and in no mean."""


class Rows:
    """The results, by what they are of."""

    def __init__(self, rows: list[Row]):
        failed = [row["model"] for row in rows if row.get("fd", 0) > DIVERGED]
        self.rows = [_beside_sit(row) for row in rows if row["model"] not in failed]
        self._failed = failed

    def failed(self, size: str, timesteps: str) -> int:
        """How many seeds diverged in training."""
        return sum((m["size"], m["timesteps"]) == (size, timesteps) for m in self._failed)

    def sampled(self, size: str, timesteps: str, sampler: str, nfe: int, **more: Any) -> list[Row]:
        """One row a seed: samples without guidance, unless `more` says otherwise."""
        wanted = {"sampler": sampler, "nfe": nfe, "guidance": 1.0, "interval": None}
        wanted |= {"grid": "uniform", **more}
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


def _beside_sit(row: Row) -> Row:
    """What was trained at the rate of patch 4's SiT belongs into its table."""
    model = row["model"]
    if model["size"] != HALF_RATE:
        return row
    return {**row, "model": {**model, "size": "p4", "timesteps": AS_SIT}}


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
                str(len(found)) + (f", {failed} more diverged" if failed else ""),
            ]
        )
        seeds = {"seeds": [row["model"]["seed"] for row in found], "diverged": failed}
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
                found = rows.sampled(size, timesteps, spec, nfe)
                if spec in best and spec not in PAPER:  # chosen on seed 0, so not reported on it
                    found = [row for row in found if row["model"]["seed"] != 0]
                plain = rows.sampled(size, timesteps, "euler", nfe)
                change = "" if spec == "euler" else paired_change(found, plain)
                cells.append(spread(row["fd"] for row in found) + change if found else "")
                if found:
                    values = [row["fd"] for row in found]
                    what = {"size": size, "timesteps": timesteps, "sampler": spec, "budget": nfe}
                    seeds = [row["model"]["seed"] for row in found]
                    record.append({**what, "seeds": seeds, "nfe": found[0]["nfe"], "fd": values})
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
                found = rows.sampled(size, GROUPED, spec, nfe, **how)
                cells.append(spread(row["fd"] for row in found) if found else "")
                what = {"size": size, "sampler": spec, **how, "budget": nfe}
                record += [{**what, **{k: row[k] for k in _MEASURED}} for row in found]
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


def described(spec: str) -> str:
    """A sampler for readers."""
    setting = spec.partition(":")[2].replace(",", ", ").replace("=true", "").replace("=", " ")
    setting = setting.replace("_", " ")
    return kind(spec) + (f" ({setting})" if setting else "")


_MEASURED = ("nfe", "fd", "accuracy", "precision", "recall", "seconds")


def moving_table(rows: Rows, size: str) -> tuple[str, list[Row]]:
    """What it costs to compute the moving patches alone, at equal steps."""
    lines, record = [], []
    plain: list[Row] = []
    for spec in MOVING:
        found = rows.sampled(size, main_timesteps(size), spec, cost(spec, size))
        if not found:
            continue
        plain = plain if "moving" in spec else found
        change = paired_change(found, plain) if "moving" in spec else ""
        setting = spec.partition(":")[2].replace(",", ", ").replace("=", " ").replace("_", " ")
        fd = [row["fd"] for row in found]
        lines.append([setting, f"{found[0]['nfe']:.1f}", spread(fd) + change])
        what = {"size": size, "sampler": spec, "nfe": found[0]["nfe"]}
        record.append({**what, "fd": fd})
    if not any("moving" in entry["sampler"] for entry in record):
        return "", []  # nothing was left out yet
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
        and row["sampling"]["grid"] == "uniform"
        and row["sampling"]["sampler"] in ("euler", *PAPER)
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
