"""Several GPUs of one host beside one: training, sampling, equal losses, a rank that is killed.

    python -m benchmarks.scaling.run --budget 560    # on 1, 2, 4 or 8 GPUs; again: what is missing
    python -m benchmarks.scaling.run --toy --out toy.json       # on a CPU, by two gloo processes
    python -m benchmarks.scaling.run --report --rows scaling.jsonl       # the JSON of those rows

Every finished row is appended to --rows at once; --out is written from them. A row that fails
leaves its error and stops no other. Rows come in order of worth, and one that would not end within
the budget is left to the next call. Calls on one machine share what was compiled (--work).

Training: XL/2 as imagenet256-pft-xl trains it, on generated latents at hand. Sampling: arrays by
`patch-forcing sample --npz`, with random weights and without an autoencoder.
"""

import argparse
import hashlib
import json
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.common.options import command_line
from benchmarks.common.record import Row, append_row, provenance, read_json, read_rows, write_json
from benchmarks.scaling.attempt import Host
from benchmarks.scaling.figures import compared
from benchmarks.scaling.plan import COUNTS, TOY, Sizes, Task, missing, plan
from benchmarks.scaling.tasks import carry_out

USD = 3.0
"""An assumed price of an hour of one GPU."""
RESERVE = 15.0
"""Seconds of the budget kept for ending processes and writing."""


def report(rows: list[Row], gpu_hour: float, before: Row) -> Row:
    """What the pages are written from: the newest row of each name; before: another such file.

    Rows of `before` that were not measured again stay as they are.
    """
    newest = {row["name"]: row for row in [*before.get("rows", []), *compared(rows)]}
    shown = [{k: v for k, v in row.items() if k != "log"} for row in newest.values()]
    return {"usd_per_gpu_hour": gpu_hour, "rows": shown}


def measure(tasks: list[Task], host: Host, options: argparse.Namespace) -> list[str]:
    """Rows, one by one, as long as they fit into the budget; returns the names of the others."""
    ends, left = time.monotonic() + options.budget - RESERVE, []
    for task in tasks:
        budget = ends - time.monotonic()
        likely = task.seconds / 10 if host.toy else task.seconds
        if budget < likely:
            left.append(task.name)
            continue
        limit = 60 + 2 * task.seconds
        result = carry_out(task, host, min(limit, budget))
        if "error" in result and limit > budget and ends - time.monotonic() < 1:
            left.append(task.name)  # the budget ended it, no fault of its own
            print(f"{task.name}: cut off by the budget", flush=True)
            continue
        row = {"name": task.name, "part": task.part, "gpus": task.gpus, **result}
        append_row(options.rows, {**row, **_origin(host)})
        _write(options)
        print(line(row), flush=True)
    return left


def line(row: Row) -> str:
    """A row for the terminal."""
    seconds = f"({row['total_seconds']:.0f} s)"
    if "error" in row:
        return f"{row['name']}: FAILED, {row['error']} {seconds}\n{row.get('log', '')}"
    keys = ("images_per_second", "of_each", "peak_gib", "matrix_rate", "apart", "resumed_apart")
    keys += ("seconds", "most_apart", "statuses", "message", "differences")
    return f"{row['name']}: { {key: row[key] for key in keys if key in row} } {seconds}"


def _origin(host: Host) -> Row:
    """Provenance of a row, the machine's own mark included."""
    head = provenance(__file__, host.device)
    if host.device != "cuda":
        return {**head, "place": head["hardware"]}
    cards = [torch.cuda.get_device_properties(n) for n in range(host.gpus)]
    marks = "".join(sorted(str(card.uuid) for card in cards))
    place = hashlib.sha256(marks.encode()).hexdigest()[:12]
    return {**head, "hardware": f"{host.gpus} × {head['hardware']}", "place": place}


def _write(options: argparse.Namespace) -> None:
    rows, before = read_rows(options.rows), read_json(options.out, {})
    write_json(options.out, report(rows, options.gpu_hour, before))


def main() -> None:
    """Measure what is missing, print, write."""
    options = _options()
    if options.report:
        _write(options)
        return
    device = "cpu" if options.toy else "cuda"
    here = 2 if options.toy else torch.cuda.device_count()
    counts = [count for count in COUNTS if count <= min(here, options.gpus)]
    if not counts:
        sys.exit(f"{here} GPUs are here, --gpus is {options.gpus}: one is needed, or --toy")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # processes are ended on the way out
    options.work.mkdir(parents=True, exist_ok=True)
    compiles = options.compile and not options.toy
    host = Host(device, counts[-1], options.work, options.toy, compiles)
    sizes = TOY if options.toy else Sizes.at_least(options.samples)
    origin = _origin(host)
    known = [row for row in read_rows(options.rows) if row["hardware"] == origin["hardware"]]
    if options.retry:
        known = [row for row in known if "error" not in row]
    tasks = _chosen(plan(sizes, counts), options.only)
    left = measure(missing(tasks, known, origin["place"]), host, options)
    newest = {row["name"]: row for row in read_rows(options.rows)}
    failed = [name for name, row in newest.items() if "error" in row]
    print(json.dumps({"left to the next call": left, "failed": failed}, indent=1))
    sys.exit(bool(left or failed))


def _chosen(tasks: list[Task], texts: list[str] | None) -> list[Task]:
    """Tasks with one of the texts in their names; all without."""
    chosen = [t for t in tasks if texts is None or any(text in t.name for text in texts)]
    if not chosen:
        names = "; ".join(task.name for task in tasks)
        sys.exit(f"--only {texts} is in no row's name: the names are {names}")
    return chosen


def _options() -> argparse.Namespace:
    parser = command_line(
        __doc__, "no-compile", "samples", out="docs/results/scaling.json", device=False
    )
    parser.add_argument("--rows", type=Path, help="default: beside --out, .jsonl")
    parser.add_argument("--only", nargs="+", help="rows with one of these texts in their names")
    parser.add_argument("--gpus", type=int, default=COUNTS[-1], help="at most so many")
    parser.add_argument("--budget", type=float, default=3600, help="seconds for this call")
    parser.add_argument("--gpu-hour", type=float, default=USD, help="its price in USD, assumed")
    parser.add_argument("--work", type=Path, help="what later calls find again")
    parser.add_argument("--retry", action="store_true", help="rows that failed, too")
    parser.add_argument("--toy", action="store_true", help="a tiny network, on two CPU processes")
    parser.add_argument("--report", action="store_true", help="measure nothing, write --out")
    options = parser.parse_args()
    if options.toy and options.out == parser.get_default("out"):
        parser.error("--toy measures nothing to keep: name a file of its own, --out toy.json")
    options.rows = options.rows or options.out.with_suffix(".jsonl")
    kind = "toy" if options.toy else "gpus"
    usual = Path(tempfile.gettempdir()) / f"patch-forcing-scaling-{kind}"
    options.work = (options.work or usual).resolve()
    return options


if __name__ == "__main__":
    main()
