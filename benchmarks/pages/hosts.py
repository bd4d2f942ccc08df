"""Tables of docs/other-models.md."""

from benchmarks.common.record import Row
from benchmarks.common.tables import made, paragraph, table

NAMES = {
    "head": "its own head",
    "change": "change",
    "contrast": "contrast",
    "spread": "spread",
    "gap": "gap",
    "random": "random",
}


def correlations(numbers: Row) -> str:
    """Rank correlation of each proxy with the squared error, by time."""
    alone, guided = (numbers["calibration"][name] for name in ("alone", "guided"))
    proxies = {**alone["proxies"], "gap": guided["proxies"]["gap"]}
    lines = [
        [
            f"{row['low']:.1f} … {row['high']:.1f}",
            *(_value(p["by_time"][k]) for p in proxies.values()),
        ]
        for k, row in enumerate(proxies["head"]["by_time"])
    ]
    lines.append(["all", *(_value(proxy["overall"]) for proxy in proxies.values())])
    intervals = [
        f"{NAMES[name]} {result['low']:.2f} to {result['high']:.2f}"
        for name, proxy in proxies.items()
        for result in [proxy["overall"]["rank_correlation"]]
    ]
    return (
        table(["t", *(NAMES[name] for name in proxies)], lines)
        + "\n"
        + paragraph(
            f"{alone['n']} held-out scenes. 95 % intervals over all times: {', '.join(intervals)}.",
            f"The gap is that of guidance {numbers['guidance']:g}; others are without guidance.",
            made(numbers),
        )
    )


def orders(numbers: Row) -> str:
    """How far dual-loop ends from the model's own flow, by the order of its patches."""
    result = {row["order"]: row for row in numbers["sampling"]}
    lines = [[title, f"{result[name]['error']:.4f}"] for name, title in NAMES.items()]
    return (
        table(["order of patches", "distance from the flow"], lines)
        + "\n"
        + paragraph(
            f"{numbers['seeds']} images with guidance {numbers['guidance']:g}, dual-loop with its",
            f"usual settings, {numbers['steps']} steps, {result['head']['nfe']:g} evaluations.",
            "The distance is the RMS over pixels in −1 … 1 from where",
            f"{numbers['reference']} steps of Adams–Bashforth lead the same noise. Half as many",
            f"of those end {result['flow']['error']:.4f} away.",
        )
    )


def _value(row: Row) -> str:
    result = row["rank_correlation"]
    return f"{result['value']:.2f}" if result else ""
