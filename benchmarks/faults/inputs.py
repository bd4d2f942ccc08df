"""How many cases the tests have that hold each kind of inputs from public reports.

    python -m benchmarks.faults.inputs    # docs/results/inputs.json
    python -m benchmarks.pages.write docs/reliability.md

Kinds and their tests are written by hand into the file; this counts the cases as pytest collects
them. Needs pip install -e ".[test]".
"""

import argparse
import json
import subprocess
import sys

from benchmarks.common.record import RESULTS, ROOT, Row, read_json
from patch_forcing.core.errors import UserError
from patch_forcing.io.atomic import write_atomic

FILE = ROOT / RESULTS / "inputs.json"


def collected(tests: list[str]) -> list[str]:
    """The names of all cases. Raises UserError if pytest does not find a test."""
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-n", "0", "-m", "", *tests]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise UserError(f"pytest collects not all of the tests: {ended.stdout[-500:]}")
    return [line for line in ended.stdout.splitlines() if "::" in line]


def cases(row: Row, names: list[str]) -> set[str]:
    """Those of the tests of a kind."""
    starts = tuple(f"{test}{end}" for test in row["tests"] for end in ("::", "["))
    return {name for name in names if name in row["tests"] or name.startswith(starts)}


def main() -> None:
    """Collect, count, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    report = read_json(FILE, {})
    try:
        names = collected(sorted({test for row in report["rows"] for test in row["tests"]}))
    except UserError as error:
        parser.error(str(error))
    report["total"] = len(names)
    for row in report["rows"]:
        row["cases"] = len(cases(row, names))
        print(f"{row['kind']}: {row['cases']}")
    write_atomic(FILE, json.dumps(report, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
