"""What "never lost" means, tried: faults made on purpose, counted.

    python -m benchmarks.faults.run                # docs/results/reliability.json and its page
    python -m benchmarks.faults.run --rows golden  # this row of them; the others stay as they are
    python -m benchmarks.faults.run --quick        # the sizes of the default tests; JSON on stdout

A row is written as soon as it is done, with its commit and its machine.

Needs pip install -e ".[test]"; two rows need Linux, one of them on x86-64, the other as root.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from benchmarks.common.record import RESULTS, ROOT, Row, read_json
from benchmarks.faults import disk as disk_faults
from benchmarks.faults import files as file_faults
from benchmarks.faults import ranks as rank_faults
from benchmarks.faults import repeated_runs
from benchmarks.faults import rows as faults
from benchmarks.pages.write import write
from patch_forcing.io.atomic import write_atomic
from patch_forcing.io.provenance import origin
from patch_forcing.runs.recipes import RECIPES

ALL_KINDS = ("digits", "emoji-64-repa", "folder", "shards", "hub", "imagenet256-pft-b")
"""Recipes that differ in their fields."""
FILE = ROOT / RESULTS / "reliability.json"
Rows = dict[str, Callable[[Path], faults.Row]]
QUICK: Rows = {
    "killed at random": lambda work: disk_faults.killed_at_random(work, 2),
    "killed at changes": lambda work: disk_faults.killed_at_calls(work, 90),
    "damaged": lambda work: file_faults.damaged(work, 100),
    "failing changes": lambda work: disk_faults.failing_calls(work, 90),
    "failing disks": disk_faults.failing_disks,
    "resumed": lambda work: repeated_runs.stopped_and_resumed(
        work, [4], [1], [2], ["digits", "emoji-64", "shards"]
    ),
    "not finite": lambda work: rank_faults.not_finite(work, ()),
    "memory runs out": lambda work: rank_faults.out_of_memory(work, (2**28,)),
    "data go away": rank_faults.lost_data,
    "hostile": file_faults.hostile,
    "keys": lambda work: file_faults.mistaken_keys(work, 24, ALL_KINDS),
    "memory": lambda work: repeated_runs.memory(work, 60, 10),
}
FULL: Rows = {
    "killed at random": lambda work: disk_faults.killed_at_random(work, 200),
    "killed at changes": lambda work: disk_faults.killed_at_calls(work, 1),
    "damaged": lambda work: file_faults.damaged(work, 1000, RECIPES["digits"].recipe.network),
    "failing changes": lambda work: disk_faults.failing_calls(work, 1),
    "failing disks": disk_faults.failing_disks,
    "resumed": lambda work: repeated_runs.stopped_and_resumed(work, [1, 3, 5, 6], [1, 2], [1, 2]),
    "signals": rank_faults.signals,
    "killed ranks": rank_faults.killed_ranks,
    "not finite": rank_faults.not_finite,
    "memory runs out": rank_faults.out_of_memory,
    "data go away": rank_faults.lost_data,
    "hostile": file_faults.hostile,
    "keys": lambda work: file_faults.mistaken_keys(work, 1),
    "memory": lambda work: repeated_runs.memory(work, 1000, 200),
    "golden": repeated_runs.golden,
}


def run_row(name: str, make: Callable[[Path], faults.Row]) -> faults.Row:
    """In a folder of its own."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as work:
        row = make(Path(work))
    row.notes["seconds"] = round(time.perf_counter() - started, 1)
    print(f"{name}: {row.tried} tried, {len(row.broken)} broken", row.notes, file=sys.stderr)
    return row


def keep(name: str, row: Row) -> None:
    """Into the file, in the place of what was measured before, and onto the page."""
    rows = read_json(FILE, {"rows": {}})["rows"] | {name: row}
    report = {"rows": {known: rows[known] for known in FULL if known in rows}}
    write_atomic(FILE, json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    write(ROOT / "docs/reliability.md")


def main() -> None:
    """Try all, report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--print", action="store_true", help="JSON on stdout, in place of the page")
    parser.add_argument("--rows", help="names, separated by commas; default: all")
    options = parser.parse_args()
    faults.prepare()
    origins = origin("cpu")
    made = {key: origins[key] for key in ("date", "commit", "versions", "hardware")}
    rows = QUICK if options.quick else FULL
    done: dict[str, Row] = {}
    for name in options.rows.split(",") if options.rows else rows:
        done[name] = {**asdict(run_row(name, rows[name])), "made": made}
        if not (options.print or options.quick):
            keep(name, done[name])
    if options.print or options.quick:
        print(json.dumps({"rows": done}))
    sys.exit(any(row["broken"] for row in done.values()))


if __name__ == "__main__":
    main()
