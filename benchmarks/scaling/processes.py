"""Jobs in processes of their own: a result, or why there is none, within a time limit."""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.common.record import ROOT, Row
from benchmarks.scaling import jobs

GPUS = 2
MAX_LOG = 20_000
"""Characters kept of what a variant that failed wrote."""


def each_alone(job: Row, limit: float, cache: str) -> Row:
    """The first GPU's result, all of them working at once and by themselves; and the mean rate."""
    with ThreadPoolExecutor(GPUS) as pool:
        only = [{"CUDA_VISIBLE_DEVICES": str(card)} for card in range(GPUS)]
        rows = [*pool.map(lambda one: in_processes(1, job, limit, cache, one), only)]
    failed = [row for row in rows if "error" in row]
    rates = [row.get("images_per_second") for row in rows]
    mean = {} if failed else {"images_per_second": statistics.mean(rates), "of_each": rates}
    return {**(failed or rows)[0], **mean}


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
        command += ["-m", jobs.__name__, json.dumps({**job, "result": str(result)})]
        variables = {"TORCHINDUCTOR_CACHE_DIR": cache, "PYTHONUNBUFFERED": "1"}
        variables |= {"OMP_NUM_THREADS": "1"} if job["device"] == "cpu" else {}
        variables |= settings or {}
        started = time.perf_counter()
        log = Path(folder) / "log"  # not a pipe: ranks that outlive torchrun would hold it open
        with log.open("w") as stream:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **variables},
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
                return {"error": error, "said": log.read_text(errors="replace")[-MAX_LOG:]}
        total = time.perf_counter() - started
        if not result.is_file():
            text = log.read_text(errors="replace")
            error = _reason(text) or f"exit status {process.returncode}"
            return {"error": error, "said": text[-MAX_LOG:]}
        return {**json.loads(result.read_text()), "total_seconds": total}


def _reason(log: str) -> str:
    """The line that says why, among all that torchrun adds."""
    lines = [line for line in log.splitlines() if "Error: " in line or "out of memory" in line]
    return lines[0].strip() if lines else ""
