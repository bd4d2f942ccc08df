"""One task on a host: how its processes are started, and what comes of them."""

import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common.record import Row
from benchmarks.scaling import jobs
from benchmarks.scaling.plan import Task
from benchmarks.scaling.processes import Ended, Start, as_ranks, check, run_together


@dataclass(frozen=True)
class Host:
    """Where tasks are carried out.

    gpus: how many are there. work: a folder that later calls find again, with what was compiled.
    """

    device: str
    gpus: int
    work: Path
    toy: bool = False
    compile: bool = True

    @property
    def variables(self) -> dict[str, str]:
        """Of the environment of all processes."""
        cache = {"TORCHINDUCTOR_CACHE_DIR": str(self.work / "compiled")}
        return cache | ({"OMP_NUM_THREADS": "1"} if self.device == "cpu" else {})

    def only(self, number: int) -> dict[str, str]:
        """Of the environment of a process that sees one GPU alone."""
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        cards = visible.split(",") if visible else [*map(str, range(self.gpus))]
        return {"CUDA_VISIBLE_DEVICES": cards[number]}


@dataclass(frozen=True)
class Attempt:
    """A task on a host. folder: for its files, gone afterwards. ends: by the monotonic clock."""

    task: Task
    host: Host
    folder: Path
    ends: float

    def run(
        self, starts: Sequence[Start], *, watch: Callable[[], object] = lambda: None
    ) -> list[Ended]:
        """Processes, all at the same time. Raises FailedError unless all ended well.

        watch: called all the time.
        """
        ended = run_together(starts, self.host.variables, self.left, watch=watch)
        check(ended)
        return ended

    @property
    def left(self) -> float:
        """Seconds until it has to end."""
        return self.ends - time.monotonic()

    def command(self, kind: str, **options: object) -> list[str]:
        """Of a process that does this job."""
        job = {"kind": kind, "device": self.host.device, "toy": self.host.toy, **options}
        return ["-m", jobs.__name__, json.dumps(job)]

    def result(self, kind: str, world: int, **options: object) -> Row:
        """Of a job that ranks do together. Raises FailedError if they fail."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "result"
            self.run(as_ranks(world, self.command(kind, result=str(file), **options)))
            row: Row = json.loads(file.read_text(encoding="utf-8"))
            return row

    def results_of_each(self, kind: str, **options: object) -> list[Row]:
        """Of a job on every GPU, each for itself, at the same time. Raises FailedError."""
        numbers = range(self.host.gpus)
        with tempfile.TemporaryDirectory() as folder:
            meet = {"folder": folder, "count": len(numbers)}
            files = [Path(folder) / f"result-{number}" for number in numbers]
            starts = [
                Start(
                    self.command(kind, result=str(file), meet=meet, **options),
                    self.host.only(number),
                )
                for number, file in enumerate(files)
            ]
            self.run(starts)
            return [json.loads(file.read_text(encoding="utf-8")) for file in files]
