"""Tables of samplers on natural images, from the rows of benchmarks/natural/run.py."""

from benchmarks.common.record import Row
from benchmarks.common.tables import lowest_bold, table
from benchmarks.natural.claims import (
    BUDGETS,
    GRIDS,
    PATCHWISE,
    PLAIN,
    SEARCH,
    best_grid,
    best_options,
    distance,
)
from benchmarks.natural.rows import GRID_NAMES, Natural, by_data, distances, sampler_name
from benchmarks.natural.settings import GROUPED, LTG, NAMES, SIT


def samplers(rows: list[Row]) -> str:
    """Samplers at equal evaluations, in equal steps and as chosen on seed 0."""
    return by_data(_samplers, rows)


def _samplers(here: Natural) -> str:
    lines = []
    for name in (SIT, LTG, GROUPED):
        specs = [*PLAIN, *PATCHWISE]
        options = [best_options(here.data, kind, here.rows) for kind in SEARCH]
        for spec in (*specs, *filter(None, options)):
            cells = [_equal(here, name, spec, nfe) for nfe in BUDGETS]
            if any(cells):
                chosen = " (chosen)" if spec in options else ""
                lines.append([NAMES[name], sampler_name(spec) + chosen, "equal", *cells])
        for spec in specs if name == GROUPED else ():
            cells = [_on_best_grid(here, spec, nfe) for nfe in BUDGETS]
            if any(cells):
                lines.append([NAMES[name], sampler_name(spec), "best on seed 0", *cells])
    if not lines:
        return ""
    header = ["trained with", "sampler", "steps", *(f"FD, {n} NFE" for n in BUDGETS)]
    return table(header, lowest_bold(lines, 3))


def _equal(here: Natural, name: str, spec: str, nfe: int) -> str:
    matches = here.sampled(name, spec, nfe)
    if ":" in spec:  # chosen on seed 0, so not reported on it
        matches = [row for row in matches if row["model"]["seed"] != 0]
    return distances(matches) if matches else ""


def _on_best_grid(here: Natural, spec: str, nfe: int) -> str:
    grid = best_grid(here.data, spec, nfe, here.rows)
    if grid is None:
        return ""
    matches = here.sampled(GROUPED, spec, nfe, grid)
    matches = [row for row in matches if row["model"]["seed"] != 0]
    return f"{distances(matches)} {GRID_NAMES[grid]}" if matches else ""


def grids(rows: list[Row]) -> str:
    """Every sampler on every grid, on seed 0: distance, and how far from the exact flow."""
    return by_data(_grids, rows)


def _grids(here: Natural) -> str:
    lines = []
    for spec in (*PLAIN, *PATCHWISE):
        for nfe in (12, 24, 48):
            by_grid = {grid: here.sampled(GROUPED, spec, nfe, grid, seed=0) for grid in GRIDS}
            cells = [
                f"{distance(r[0]):.2f}, {r[0]['from_flow']:.1f}" if r else ""
                for r in by_grid.values()
            ]
            if sum(map(bool, cells)) > 1:
                lines.append([sampler_name(spec), str(nfe), *cells])
    if not lines:
        return ""
    return table(["sampler", "NFE", *(GRID_NAMES[grid] for grid in GRIDS)], lines)


def guidance(rows: list[Row]) -> str:
    """By scale, within an interval or everywhere, on seed 0."""
    return by_data(_guidance, rows)


def _guidance(here: Natural) -> str:
    matches = here.models("samples", timesteps=GROUPED, seed=0)
    guided = [row for row in matches if row["sampling"]["guidance"] != 1]
    scales = sorted({row["sampling"]["guidance"] for row in guided})
    kinds = dict.fromkeys(
        (r["sampling"]["sampler"], r["sampling"]["nfe"], str(r["sampling"]["interval"]))
        for r in guided
    )
    lines = []
    for spec, nfe, interval in kinds:
        cells = []
        for scale in scales:
            row = next(
                (
                    r
                    for r in guided
                    if (r["sampling"]["sampler"], r["sampling"]["nfe"]) == (spec, nfe)
                    and str(r["sampling"]["interval"]) == interval
                    and r["sampling"]["guidance"] == scale
                ),
                None,
            )
            cells.append(
                f"{distance(row):.2f}, {row['measures'][0]['accuracy']:.0%}" if row else ""
            )
        plain = here.sampled(GROUPED, spec, nfe, seed=0)
        where = "everywhere" if interval == "None" else f"t {interval[1:-1].replace(', ', ' … ')}"
        none = (
            f"{distance(plain[0]):.2f}, {plain[0]['measures'][0]['accuracy']:.0%}" if plain else ""
        )
        lines.append([sampler_name(spec), f"{nfe:g}", where, none, *cells])
    if not lines:
        return ""
    return table(["sampler", "NFE", "guided", "1", *(f"{scale:g}" for scale in scales)], lines)
