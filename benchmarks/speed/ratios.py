"""How many times faster ours is than the published design, from the rows of one run."""

from benchmarks.common.record import Row

RATIOS = {  # rows of the published design and of ours; two targets
    "forward, one time": ("forward, one time, published", "forward, one time, ours", 1.5, 1.8),
    "forward, two times": ("forward, two times, published", "forward, two times, ours", 1.5, 1.8),
    "dual-loop, whole run": ("dual-loop, published", "dual-loop, moving, ours", 2.8, 3.5),
    "training, exact LTG": ("training, LTG, published", "training, LTG, ours", 1.15, 1.3),
    "training, K = 8": ("training, LTG, published", "training, LTG of 8 levels, ours", 1.5, 1.8),
}


def ratios(rows: list[Row]) -> list[Row]:
    """How many times faster, beside two targets; or what an evaluation costs."""
    by_name = {(row["size"], row["what"]): row for row in rows}
    result = []
    for size in dict.fromkeys(row["size"] for row in rows):
        for what, (before, after, must, aim) in RATIOS.items():
            if (size, before) in by_name and (size, after) in by_name:
                times = by_name[size, before]["ms"] / by_name[size, after]["ms"]
                result.append(
                    {"size": size, "what": what, "times": times, "must": must, "aim": aim}
                )
        for what in ("dual-loop", "look-ahead"):
            pair = [by_name.get((size, f"{name}, ours")) for name in (what, "euler")]
            if all(pair):
                times = pair[0]["ms_per_nfe"] / pair[1]["ms_per_nfe"]
                what = f"{what}, an evaluation against Euler's"
                wanted = {"must": 1.05, "aim": 1.02}
                result.append({"size": size, "what": what, "times": times, **wanted})
    return result
