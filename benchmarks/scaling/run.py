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
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import patch_forcing as pf
from patch_forcing.data.batch import Batch, TensorData
from patch_forcing.data.digits import Digits
from patch_forcing.distributed.overlap import PIECES
from patch_forcing.distributed.ranks import join_ranks
from patch_forcing.io.provenance import commit, hardware, versions
from patch_forcing.models.config import DataInfo
from patch_forcing.runs.memory import enough_memory
from patch_forcing.runs.recipes import Network, Recipe
from patch_forcing.runs.state import initial_state
from patch_forcing.runs.step import TrainStep, side_stream
from patch_forcing.runs.trainer import train
from patch_forcing.training.optim import OptimizerConfig

Row = dict[str, Any]
GPUS = 2
VARIANTS: dict[str, tuple[int, str, int]] = {  # GPUs, what each holds, pieces for sums
    "one": (1, "replicate", 0),
    "DDP": (GPUS, "replicate", 0),
    "FSDP2": (GPUS, "shard", 0),
    f"DDP, {PIECES} pieces": (GPUS, "replicate", PIECES),
    "DDP, 3 pieces": (GPUS, "replicate", 3),
}
BATCHES = (128, 64)
"""For each GPU; the second if the first is too large for one of the variants."""
WARM, STEPS, REPEATS = 6, 10, 5
"""Steps until all is compiled and recorded; steps of a repeat."""
LEGS = ((2, "replicate"), (1, "replicate"), (2, "shard"), (1, "replicate"))
LEG_STEPS = 10
SAID = 20_000
"""Characters kept of what a variant that failed wrote."""
TOLERANCE = 1e-3
"""Of a loss, relative: ranks round sums in another order."""
MUST = {name: 0.90 if "FSDP2" in name else 0.95 for name in VARIANTS}


def measure(job: Row) -> Row | None:
    """In each process of a variant: seconds of a step, and the memory it takes."""
    device = job["device"]
    with join_ranks(device) as ranks:
        config = pf.PatchDiTConfig(**job["sizes"])
        batch = job["batch"]
        shape = (batch, config.in_channels, *config.image_size)
        noise = torch.Generator().manual_seed(ranks.rank)
        images = torch.randn(shape, generator=noise)
        labels = torch.arange(batch) % config.num_classes
        data = TensorData(images, labels, config.num_classes, DataInfo())
        recipe = Recipe(
            Digits(),  # not read: the batch is at hand
            Network(config.patch_size, config.hidden_size, config.depth, config.num_heads),
            batch_size=batch * ranks.world,
            precision="bf16",
            compile=job["compile"],
            parallel=job["parallel"],
        )
        at_hand = Batch(images.to(device), labels.to(device))
        with enough_memory(recipe, ranks, "in the benchmark"):
            state = initial_state(recipe, data, device, ranks=ranks)
            train_step = TrainStep(state, recipe, device, ranks, pieces=job["pieces"])
            with side_stream(device):
                for number in range(WARM):
                    train_step(at_hand, number)
                seconds = [_seconds(train_step, at_hand, ranks, k) for k in range(REPEATS)]
        train_step.close()
        memory = torch.cuda.max_memory_allocated() if device == "cuda" else 0
        slowest = [max(repeat) for repeat in zip(*ranks.gather(seconds), strict=True)]
        peak = max(ranks.gather(memory)) / 2**30
        if not ranks.first:
            return None
        step = statistics.median(slowest)
        return {
            "batch": recipe.batch_size,
            "seconds_per_step": step,
            "images_per_second": recipe.batch_size / step,
            "peak_gib": peak or None,
            "spread": (max(slowest) - min(slowest)) / step,
            "timing": slowest,
            "hardware": hardware(device),
        }


def _seconds(train_step: TrainStep, batch: Batch, ranks: Any, repeat: int) -> float:
    """Of one step, from when all ranks are ready until this one's device is done."""
    wait = torch.cuda.synchronize if batch.x_1.is_cuda else lambda: None
    wait()
    ranks.wait()
    started = time.perf_counter()
    for number in range(STEPS):
        train_step(batch, WARM + repeat * STEPS + number)
    wait()
    return (time.perf_counter() - started) / STEPS


def resume(job: Row) -> Row | None:
    """In each process: a tiny run, up to some step."""
    recipe = Recipe(
        Digits(),
        Network(patch_size=2, hidden_size=64, depth=2, num_heads=2),
        OptimizerConfig(lr=3e-3, warmup_steps=5),
        batch_size=64,
        ema_decay=0.9,
        checkpoint_every=LEG_STEPS,
        log_every=1,
    )
    recipe = replace(recipe, steps=job["steps"], parallel=job["parallel"])
    outcome = train("scaling", recipe, Path(job["run"]), device=job["device"], progress=False)
    return {"steps": outcome.steps} if outcome.writes else None


def each_alone(job: Row, limit: float, cache: str) -> Row:
    """The first GPU's result, all of them working at once and by themselves; and the mean rate."""
    with ThreadPoolExecutor(GPUS) as pool:
        only = [{"CUDA_VISIBLE_DEVICES": str(card)} for card in range(GPUS)]
        found = [*pool.map(lambda one: in_processes(1, job, limit, cache, one), only)]
    failed = [row for row in found if "error" in row]
    rates = [row.get("images_per_second") for row in found]
    mean = {} if failed else {"images_per_second": statistics.mean(rates), "of_each": rates}
    return {**(failed or found)[0], **mean}


def in_processes(
    world: int, job: Row, limit: float, cache: str, settings: dict[str, str] | None = None
) -> Row:
    """The job's result, from `world` processes; or its error, after `limit` seconds at most."""
    if limit < 10:
        return {"error": "no time was left"}
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable]
        if world > 1:
            command += ["-m", "torch.distributed.run", "--standalone"]
            command += ["--nproc-per-node", str(world)]
        command += [__file__, "--job", json.dumps({**job, "result": str(result)})]
        kept = {"TORCHINDUCTOR_CACHE_DIR": cache, "PYTHONUNBUFFERED": "1"}
        kept |= {"OMP_NUM_THREADS": "1"} if job["device"] == "cpu" else {}
        kept |= settings or {}
        started = time.perf_counter()
        log = Path(folder) / "log"  # not a pipe: ranks that outlive torchrun would hold it open
        with log.open("w") as stream:
            process = subprocess.Popen(
                command,
                env={**os.environ, **kept},
                stdout=subprocess.DEVNULL,
                stderr=stream,
                start_new_session=True,
            )
            try:
                process.wait(timeout=limit)
            except subprocess.TimeoutExpired:
                process.terminate()  # torchrun ends its ranks, which are in sessions of their own
                try:
                    process.wait(timeout=20)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                error = f"not done after {limit:.0f} s"
                return {"error": error, "said": log.read_text(errors="replace")[-SAID:]}
        total = time.perf_counter() - started
        if not result.is_file():
            said = log.read_text(errors="replace")
            return {
                "error": _reason(said) or f"exit status {process.returncode}",
                "said": said[-SAID:],
            }
        return {**json.loads(result.read_text()), "total_seconds": total}


def _reason(said: str) -> str:
    """The line that says why, among all that torchrun adds."""
    lines = [line for line in said.splitlines() if "Error: " in line or "out of memory" in line]
    return lines[0].strip() if lines else ""


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
                found = each_alone(job, limit, cache)
            else:
                found = in_processes(world, job, limit, cache)
            rows.append({"what": name, "gpus": world, **found})
            _compare(rows)
            print(_line(rows[-1]), found.get("said", "")[-3000:], sep="\n", flush=True)
            if "out of memory" in found.get("error", "") and batch != batches[-1]:
                break
        else:
            break
    return rows


def _compare(rows: list[Row]) -> None:
    """Efficiency of the last row: its images a second beside what its GPUs do by themselves."""
    one, last = rows[0].get("images_per_second"), rows[-1]
    if one and last["gpus"] > 1 and "error" not in last:
        last["efficiency"] = last["images_per_second"] / (last["gpus"] * one)
        last["must"] = MUST[last["what"]]


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
            found = in_processes(world, job, min(options.limit, ends - time.monotonic()), cache)
            if "error" in found:
                return {"legs": LEGS, "at": [world, parallel, steps], **found}
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
    rows = map(json.loads, (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [(row["step"], row["total"]) for row in rows]


def _line(row: Row) -> str:
    """A row of the table."""
    if "error" in row:
        return f"{row['what']:22} {row['error']}"
    text = f"{row['what']:22} {row['gpus']} × {row['batch'] // row['gpus']} images"
    text += f"  {1e3 * row['seconds_per_step']:8.1f} ms  {row['images_per_second']:8.1f} images/s"
    if "efficiency" in row:
        text += f"  {100 * row['efficiency']:5.1f} % (asked {100 * row['must']:.0f})"
    if "of_each" in row:
        text += "  of each " + ", ".join(f"{rate:.1f}" for rate in row["of_each"])
    return text + (f"  {row['peak_gib']:.1f} GiB" if row["peak_gib"] else "")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--toy", action="store_true", help="a tiny network, on two CPU processes")
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    parser.add_argument("--seconds", type=float, default=540, help="for everything")
    parser.add_argument("--limit", type=float, default=260, help="seconds for a variant")
    parser.add_argument("--out", type=Path, default=Path("docs/results/scaling.json"))
    parser.add_argument("--job", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        found = JOBS[options.job["kind"]](options.job)
        if found is not None:
            Path(options.job["result"]).write_text(json.dumps(found), encoding="utf-8")
        return
    options.device = "cpu" if options.toy else "cuda"
    options.compile = options.compile and not options.toy
    if not options.toy and torch.cuda.device_count() < GPUS:
        sys.exit(f"{torch.cuda.device_count()} GPUs here, {GPUS} are compared: take --toy")
    ends = time.monotonic() + options.seconds
    report = {
        "command": "python -m benchmarks.scaling.run" + (" --toy" if options.toy else ""),
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": hardware("cpu") if options.toy else f"2 × {torch.cuda.get_device_name(0)}",
        "versions": versions(),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    # compiled for one GPU, the step is found there by two that sum after it: one graph
    with tempfile.TemporaryDirectory() as cache:
        for part in options.parts:
            report[part] = PARTS[part](options, ends, cache)
            options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if "resumed" in report:
        print("resumed:", report["resumed"], flush=True)
    sys.exit("error" in json.dumps(report))


PARTS = {"resumed": resumed, "scaling": scaling}  # first what is short and must be there
JOBS = {"measure": measure, "resume": resume}

if __name__ == "__main__":
    main()
