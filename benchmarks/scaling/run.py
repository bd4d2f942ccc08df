"""Training on two GPUs beside one of the same host, in one run; and a run resumed on 2, 1, 2, 1.

    python -m benchmarks.scaling.run --out docs/results/scaling.json    # on two GPUs, < 550 s
    python -m benchmarks.scaling.run --toy --out toy.json           # on a CPU, with gloo

Weak scaling: XL/2 on latents of 256 pixels, random weights and data at hand, bf16, compiled, the
same batch for each GPU. A process on each GPU by itself, all at once; then torchrun with whole
models (DDP), then with rows of them (FSDP2). A variant that fails or takes too long leaves its
error in its row. Reading data is not part of it.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import torch

import patch_forcing as pf
from benchmarks.common.options import command_line
from benchmarks.common.record import Row, check_kept, provenance, read_rows, write_json
from benchmarks.scaling.jobs import LEG_STEPS
from benchmarks.scaling.processes import GPUS, each_alone, in_processes
from patch_forcing.core.errors import UserError
from patch_forcing.distributed.overlap import MAX_PIECES

VARIANTS: dict[str, tuple[int, str, int]] = {  # GPUs, what each holds, pieces for sums
    "one": (1, "replicate", 0),
    "DDP": (GPUS, "replicate", 0),
    "FSDP2": (GPUS, "shard", 0),
    f"DDP, {MAX_PIECES} pieces": (GPUS, "replicate", MAX_PIECES),
    "DDP, 3 pieces": (GPUS, "replicate", 3),
}
BATCHES = (128, 64)
"""For each GPU; the second if the first is too large for one of the variants."""
LEGS = ((2, "replicate"), (1, "replicate"), (2, "shard"), (1, "replicate"))
TOLERANCE = 1e-3
"""Of a loss, relative: ranks round sums in another order."""


def scaling(options: argparse.Namespace, ends: float, cache: str) -> list[Row]:
    """A row for each variant."""
    config = pf.preset("XL/2")
    sizes = {"input_size": 32, "in_channels": 4, "num_classes": 1000, "patch_size": 2}
    sizes |= {"hidden_size": config.hidden_size, "depth": config.depth}
    sizes |= {"num_heads": config.num_heads}
    batches = BATCHES
    if options.toy:
        sizes |= {"input_size": 8, "hidden_size": 32, "depth": 2, "num_heads": 2}
        batches = (8,)
    rows: list[Row] = []
    for batch in batches:
        rows = []
        for name in options.only:
            world, parallel, pieces = VARIANTS[name]
            job = {"kind": "measure", "device": options.device, "compile": options.compile}
            job |= {"sizes": sizes, "batch": batch, "parallel": parallel}
            job |= {"pieces": pieces}
            limit = min(options.limit, ends - time.monotonic())
            if world == 1:
                result = each_alone(job, limit, cache)
            else:
                result = in_processes(world, job, limit, cache)
            rows.append({"what": name, "gpus": world, **result})
            _compare(rows)
            print(_line(rows[-1]), result.get("said", "")[-3000:], sep="\n", flush=True)
            if "out of memory" in result.get("error", "") and batch != batches[-1]:
                break
        else:
            break
    return rows


def _compare(rows: list[Row]) -> None:
    """Efficiency of the last row: its images a second beside what its GPUs do by themselves."""
    one, last = rows[0].get("images_per_second"), rows[-1]
    if one and last["gpus"] > 1 and "error" not in last:
        last["efficiency"] = last["images_per_second"] / (last["gpus"] * one)


def resumed(options: argparse.Namespace, ends: float, cache: str) -> Row:
    """A run that goes on with other ranks, beside one on one GPU: how far losses are apart."""
    with tempfile.TemporaryDirectory() as work:
        total = LEG_STEPS * len(LEGS)
        legs = [(1, "replicate", total, "whole")]
        legs += [(w, p, LEG_STEPS * (k + 1), "parts") for k, (w, p) in enumerate(LEGS)]
        for world, parallel, steps, name in legs:
            run = str(Path(work) / name)
            job = {"kind": "resume", "device": options.device, "run": run}
            job |= {"steps": steps, "parallel": parallel}
            result = in_processes(world, job, min(options.limit, ends - time.monotonic()), cache)
            if "error" in result:
                return {"legs": LEGS, "at": [world, parallel, steps], **result}
        whole, parts = (_losses(Path(work) / name) for name in ("whole", "parts"))
        assert [step for step, _ in parts] == [step for step, _ in whole] == [*range(1, total + 1)]
        apart = max(abs(b / a - 1) for (_, a), (_, b) in zip(whole, parts, strict=True))
        return {
            "legs": LEGS,
            "steps_each": LEG_STEPS,
            "apart": apart,
            "tolerance": TOLERANCE,
            "agrees": apart < TOLERANCE,
            "last_loss": whole[-1][1],
        }


def _losses(run: Path) -> list[tuple[int, float]]:
    return [(row["step"], row["total"]) for row in read_rows(run / "metrics.jsonl")]


def _line(row: Row) -> str:
    """A row of the table."""
    if "error" in row:
        return f"{row['what']:22} {row['error']}"
    text = f"{row['what']:22} {row['gpus']} × {row['batch'] // row['gpus']} images"
    text += f"  {1e3 * row['seconds_per_step']:8.1f} ms  {row['images_per_second']:8.1f} images/s"
    if "efficiency" in row:
        text += f"  {100 * row['efficiency']:5.1f} % of {row['gpus']} times one"
    if "of_each" in row:
        text += "  of each " + ", ".join(f"{rate:.1f}" for rate in row["of_each"])
    return text + (f"  {row['peak_gib']:.1f} GiB" if row["peak_gib"] else "")


def held(report: Row) -> list[str]:
    """The parts and variants in a report."""
    return [*(PARTS & report.keys()), *(row["what"] for row in report.get("scaling", []))]


def main() -> None:
    """Measure, print, write."""
    parser = command_line(__doc__, "no-compile", out="docs/results/scaling.json", device=False)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--toy", action="store_true", help="a tiny network, on two CPU processes")
    parser.add_argument("--seconds", type=float, default=540, help="for everything")
    parser.add_argument("--limit", type=float, default=260, help="seconds for a variant")
    options = parser.parse_args()
    try:
        check_kept(options.out, [*options.parts, *options.only], held)
    except UserError as error:
        parser.error(str(error))
    options.device = "cpu" if options.toy else "cuda"
    options.compile = options.compile and not options.toy
    if not options.toy and torch.cuda.device_count() < GPUS:
        sys.exit(f"{torch.cuda.device_count()} GPUs here, {GPUS} are compared: take --toy")
    ends = time.monotonic() + options.seconds
    report = provenance(__file__, options.device)
    if options.toy:
        report["command"] += " --toy"
    else:
        report["hardware"] = f"2 × {report['hardware']}"
    # compiled for one GPU, the step is found there by two that sum after it: one graph
    with tempfile.TemporaryDirectory() as cache:
        for part in options.parts:
            report[part] = PARTS[part](options, ends, cache)
            write_json(options.out, report)
    if "resumed" in report:
        print("resumed:", report["resumed"], flush=True)
    sys.exit("error" in json.dumps(report))


PARTS = {"resumed": resumed, "scaling": scaling}  # first what is short and must be there

if __name__ == "__main__":
    main()
