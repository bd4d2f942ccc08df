"""Processes that are started together, watched, and all ended, whatever happens."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from benchmarks.common.record import ROOT, Row

MAX_LOG = 4_000
"""Characters kept of what each process of a task that failed wrote."""
POLL = 0.02
PATIENCE = 20.0
"""Seconds that the others have after one has failed."""


class FailedError(Exception):
    """A task came to no result. row: why, and what its processes wrote last."""

    def __init__(self, error: str, log: str = ""):
        super().__init__(error)
        self.row: Row = {"error": error, "log": log}


class Start(NamedTuple):
    """What follows `python`, and variables of the environment beside those there are."""

    command: list[str]
    variables: Mapping[str, str]


class Ended(NamedTuple):
    """A process. status: None, it had to be killed. at: seconds since the epoch. log: its words."""

    status: int | None
    at: float
    log: str


def as_ranks(world: int, command: Sequence[str]) -> list[Start]:
    """The same command on each rank of this host, as torchrun starts it; alone without."""
    if world == 1:
        return [Start([*command], {})]
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    here = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    here |= {"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world)}
    return [
        Start([*command], here | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(world)
    ]


def run_together(
    starts: Sequence[Start],
    variables: Mapping[str, str],
    limit: float,
    *,
    patience: float = PATIENCE,
    watch: Callable[[], object] = lambda: None,
) -> list[Ended]:
    """How each one ended, after `limit` seconds at most; `patience` once one has failed.

    variables: of all. watch: called all the time.
    """
    ended: dict[int, tuple[int, float]] = {}
    deadline = time.monotonic() + limit
    with tempfile.TemporaryDirectory() as folder:
        logs = [Path(folder) / str(number) for number in range(len(starts))]
        processes = [_start(*pair, variables) for pair in zip(starts, logs, strict=True)]
        try:
            while len(ended) < len(processes) and time.monotonic() < deadline:
                time.sleep(POLL)
                watch()
                for number, process in enumerate(processes):
                    if number not in ended and process.poll() is not None:
                        ended[number] = process.returncode, time.time()
                        if process.returncode:
                            deadline = min(deadline, time.monotonic() + patience)
        finally:
            for process in processes:
                _kill(process)
        killed = None, time.time()
        return [
            Ended(*ended.get(number, killed), log.read_text(errors="replace"))
            for number, log in enumerate(logs)
        ]


def check(ended: Sequence[Ended]) -> None:
    """Raises FailedError unless all ended well."""
    if all(one.status == 0 for one in ended):
        return
    log = "\n".join(f"[process {n}]\n{one.log[-MAX_LOG:]}" for n, one in enumerate(ended))
    raise FailedError(reason(ended), log)


def reason(ended: Sequence[Ended]) -> str:
    """The line that says why: of the process that failed by itself, if one did."""
    lines = [
        line.strip()
        for one in ended
        if one.status
        for line in one.log.splitlines()
        if "Error: " in line or "out of memory" in line or line.startswith("patch-forcing: ")
    ]
    causes = [line for line in lines if "lost the others" not in line]
    statuses = [one.status for one in ended if one.status]
    return ([*causes, *lines] or [f"exit status {n}" for n in statuses] or ["not done in time"])[0]


def _start(start: Start, log: Path, variables: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    with log.open("wb") as stream:
        return subprocess.Popen(
            [sys.executable, *start.command],
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **variables, **start.variables},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """The process and those that it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=10)
