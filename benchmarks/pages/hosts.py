"""Tables of docs/other-models.md."""

from benchmarks.common.record import Row

NAMES = {
    "head": "its own head",
    "change": "change",
    "spread": "spread",
    "gap": "gap",
    "random": "random",
}


def correlations(numbers: Row) -> str:
    """Rank correlation of each proxy with the squared error, by time."""
    alone, guided = (numbers["calibration"][name]["proxies"] for name in ("alone", "guided"))
    columns = {name: alone.get(name, guided[name]) for name in NAMES if name in guided}
    rows = [f"| t | {' | '.join(NAMES[name] for name in columns)} |"]
    rows.append("| --- " * (1 + len(columns)) + "|")
    for k, row in enumerate(guided["gap"]["by_time"]):
        cells = [_cell(proxy["by_time"][k]) for proxy in columns.values()]
        rows.append(f"| {row['low']:.1f} … {row['high']:.1f} | {' | '.join(cells)} |")
    rows.append(f"| all | {' | '.join(_cell(proxy['overall']) for proxy in columns.values())} |")
    record = numbers["calibration"]["guided"]
    note = (
        f"{record['n']} held-out scenes, with 95 % intervals over all times. The gap is that of "
        f"guidance {numbers['guidance']:g}; the others are without guidance. Measured on "
        f"{record['hardware']}, {record['date']}."
    )
    wide = [
        f"{NAMES[name]} {row['low']:.2f} … {row['high']:.2f}"
        for name, proxy in columns.items()
        for row in [proxy["overall"]["rank_correlation"]]
    ]
    return "\n".join([*rows, "", note, f"The intervals: {', '.join(wide)}."]) + "\n"


def orders(numbers: Row) -> str:
    """How far dual-loop ends from the model's own flow, by the order of its patches."""
    rows = ["| order of patches | not guided | guided |", "| --- | --- | --- |"]
    found = {(row["order"], row["guided"]): row["error"] for row in numbers["sampling"]}
    for name, title in NAMES.items():
        cells = [
            f"{found[name, guided]:.4f}" if (name, guided) in found else "–"
            for guided in (False, True)
        ]
        rows.append(f"| {title} | {' | '.join(cells)} |")
    calls = {row["nfe"] for row in numbers["sampling"] if "nfe" in row and not row["guided"]}
    note = (
        f"{numbers['seeds']} images, dual-loop with its usual settings, {numbers['steps']} steps, "
        f"{max(calls):g} evaluations (twice as many guided). RMS over pixels in −1 … 1, from where "
        f"{numbers['reference']} steps of Adams–Bashforth lead; half as many of those end "
        f"{found['flow', False]:.4f} and {found['flow', True]:.4f} away."
    )
    return "\n".join([*rows, "", note]) + "\n"


def _cell(row: Row) -> str:
    found = row["rank_correlation"]
    return f"{found['value']:.2f}" if found else ""
