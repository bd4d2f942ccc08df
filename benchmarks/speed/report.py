"""The tables of docs/results/speed.md, from what benchmarks/speed/run.py wrote.

    python -m benchmarks.speed.report

What stands outside of the tables is written by hand.
"""

import argparse
import json
from pathlib import Path

from benchmarks.common.record import Row
from benchmarks.common.tables import table

BEGIN, END = "<!-- tables: benchmarks/speed/report.py -->", "<!-- end of tables -->"


def milliseconds(row: Row) -> str:
    """Median, and half of the spread of the repeats."""
    timing = row["timing"]
    return f"{row['ms']:.1f} ± {1e3 * (max(timing) - min(timing)) / 2:.1f}"


def met(ratio: Row, hardware: str) -> list[str]:
    """A line of the table of targets. For the cost of an evaluation, less is better."""
    times, first, second = (ratio[key] for key in ("times", "must", "aim"))
    less = second < first
    reached = [times <= target if less else times >= target for target in (first, second)]
    return [
        ratio["size"],
        ratio["what"],
        f"{times:.3f}" if less else f"{times:.2f}×",
        f"≤ {first}, {second}" if less else f"{first}×, {second}×",
        "both" if reached[1] else "first" if reached[0] else "**none**",
        hardware,
    ]


def detail(row: Row, hardware: str) -> list[str]:
    """A measured line."""
    share = f"{row['share']:.0%}" if "share" in row else ""
    per_nfe = f"{row['ms_per_nfe']:.2f}" if "ms_per_nfe" in row else ""
    nfe = f"{row['nfe']:.1f}" if "nfe" in row else ""
    memory = f"{row['peak_gib']:.1f}" if row.get("peak_gib") else ""
    images = 1e3 * row["batch"] / row["ms"]
    what = [row["size"], row["what"], str(row["batch"])]
    return [*what, milliseconds(row), f"{images:,.0f}", nfe, per_nfe, share, memory, hardware]


def tables(runs: list[Row]) -> str:
    """All, and where each run was made."""
    targets = table(
        ["size", "figure", "measured", "targets", "reached", "hardware"],
        [met(ratio, run["hardware"]) for run in runs for ratio in run["ratios"]],
    )
    head = ["size", "what", "batch", "ms", "images/s", "evaluations", "ms each", "share", "GiB"]
    rows = table(
        [*head, "hardware"], [detail(row, run["hardware"]) for run in runs for row in run["rows"]]
    )
    made = table(
        ["size", "part", "hardware", "TFLOP/s of one bf16 product", "torch", "commit", "date"],
        [
            [
                run["size"],
                run["part"],
                run["hardware"],
                f"{run['matrix_rate'] / 1e12:.0f}",
                run["versions"]["torch"],
                run["commit"],
                run["date"],
            ]
            for run in runs
        ],
    )
    return "\n".join((targets, rows, made))


def main() -> None:
    """Replace what is between the marks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("docs/results/speed"))
    parser.add_argument("--page", type=Path, default=Path("docs/results/speed.md"))
    options = parser.parse_args()
    files = sorted(options.runs.glob("*.json"))
    runs = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    before, _, rest = options.page.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    text = f"{before}{BEGIN}\n{tables(runs)}{END}{after}"
    options.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
