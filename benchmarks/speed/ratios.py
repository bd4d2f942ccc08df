"""How many times faster ours is than the published design, from the rows of one run."""

from benchmarks.common.record import Row

RATIOS = {  # rows of the published design and of ours
    "forward, one time": ("forward, one time, published", "forward, one time, ours"),
    "forward, two times": ("forward, two times, published", "forward, two times, ours"),
    "Euler, whole run": ("euler, published", "euler, ours"),
    "look-ahead, whole run": ("look-ahead, published", "look-ahead, ours"),
    "dual-loop, whole run": ("dual-loop, published", "dual-loop, ours"),
    "dual-loop, moving tokens only": ("dual-loop, published", "dual-loop, moving, ours"),
    "training, exact LTG": ("training, LTG, published", "training, LTG, ours"),
    "training, 8 levels": ("training, LTG, published", "training, LTG of 8 levels, ours"),
    "training, 8 levels, GELU again": (
        "training, LTG, published",
        "training, LTG of 8 levels, ours, GELU again",
    ),
    "training, 8 levels, cheap again": (
        "training, LTG, published",
        "training, LTG of 8 levels, ours, cheap again",
    ),
}
"""Like for like, but that moving tokens are held against all, and 8 levels against exact LTG."""
AGAINST_EULER = ("dual-loop", "look-ahead")
"""Samplers whose evaluations are held against Euler's, all of ours and of all tokens."""


def times_faster(rows: list[Row]) -> dict[str, float]:
    """By the names of RATIOS, those that both rows were measured of."""
    ms = {row["what"]: row["ms"] for row in rows}
    return {
        what: ms[before] / ms[after]
        for what, (before, after) in RATIOS.items()
        if before in ms and after in ms
    }


def against_euler(rows: list[Row]) -> dict[str, float]:
    """What an evaluation takes, where Euler's takes 1."""
    milliseconds = {row["what"]: row["ms_per_nfe"] for row in rows if "ms_per_nfe" in row}
    euler = milliseconds.get("euler, ours")
    of_samplers = {name: milliseconds.get(f"{name}, ours") for name in AGAINST_EULER}
    return {name: ms / euler for name, ms in of_samplers.items() if ms and euler}
