"""The table of PACS, from the rows of benchmarks/natural/pacs.py."""

from benchmarks.common.record import Row
from benchmarks.common.tables import spread, table
from benchmarks.natural.settings import NAMES


def pacs(rows: list[Row]) -> str:
    """Style and thing of samples, of pairs that were trained on and of those held out."""
    lines = []
    for row in (row for row in rows if row["what"] == "real"):
        for pairs, part in row["real"].items():
            lines.append([row["kind"], "real pictures", "", "", pairs, *_shares([part]), ""])
    samples = [row for row in rows if row["what"] == "samples"]
    names = ("kind", "timesteps", "sampler", "guidance", "pairs")
    for kind in dict.fromkeys(tuple(row[name] for name in names) for row in samples):
        matches = [row for row in samples if tuple(row[name] for name in names) == kind]
        space, times, sampler, scale, pairs = kind
        fd = spread((row["fd"]["value"] for row in matches), 1) if pairs == "seen" else ""
        lines.append([space, NAMES[times], sampler, f"{scale:g}", pairs, *_shares(matches), fd])
    header = ["space", "trained with", "sampler", "guidance", "pairs", "style, %", "thing, %"]
    return table([*header, "both, %", "FD"], lines)


def _shares(rows: list[Row]) -> list[str]:
    """Percent; of one row with the interval's width, of several as mean and deviation."""
    if len(rows) == 1:
        shares, widths = rows[0]["shares"], rows[0]["widths"]
        return [f"{100 * shares[name]:.1f} ± {100 * widths[name]:.1f}" for name in shares]
    names = rows[0]["shares"]
    return [spread((100 * row["shares"][name] for row in rows), 1) for name in names]
