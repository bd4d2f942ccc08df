"""What "never lost" means, tried: faults made on purpose, counted.

    python -m benchmarks.faults.run            # docs/results/reliability.json, docs/reliability.md
    python -m benchmarks.faults.run --quick    # the sizes of the default tests; JSON on stdout

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

from benchmarks.common.record import ROOT
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


def run_rows(rows: Rows) -> dict[str, faults.Row]:
    """Each in a folder of its own."""
    done = {}
    for name, make in rows.items():
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as work:
            row = make(Path(work))
        row.notes["seconds"] = round(time.perf_counter() - started, 1)
        print(f"{name}: {row.tried} tried, {len(row.broken)} broken", row.notes, file=sys.stderr)
        done[name] = row
    return done


def main() -> None:
    """Try all, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--print", action="store_true", help="the JSON, in place of the page")
    parser.add_argument("--rows", help="names, separated by commas; default: all")
    options = parser.parse_args()
    faults.prepare()
    origins = origin("cpu")
    report = {key: origins[key] for key in ("date", "commit", "versions", "hardware")}
    rows = QUICK if options.quick else FULL
    if options.rows:
        rows = {name: rows[name] for name in options.rows.split(",")}
    done = run_rows(rows)
    written = {**report, "rows": {name: asdict(row) for name, row in done.items()}}
    if options.print or options.quick or options.rows:
        print(json.dumps(written))
    else:
        text = json.dumps(written, indent=1, ensure_ascii=False)
        write_atomic(ROOT / "docs/results/reliability.json", text + "\n")
        write(ROOT / "docs/reliability.md")
    sys.exit(any(row.broken for row in done.values()))


if __name__ == "__main__":
    main()
