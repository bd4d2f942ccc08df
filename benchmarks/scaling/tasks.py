"""How each part of the plan is carried out, by processes of its own."""

import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.common.record import Row, read_rows
from benchmarks.scaling.arrays import sampling
from benchmarks.scaling.attempt import Attempt, Host
from benchmarks.scaling.plan import HOW, LEG_STEPS, LOSS_STEPS, TIMES, Task, legs
from benchmarks.scaling.processes import FailedError, Start, as_ranks, check, run_together
from tests.scripts import recorded_step

TOLERANCE = 1e-3
"""Of a loss, relative: ranks round sums in another order."""


def carry_out(task: Task, host: Host, limit: float) -> Row:
    """The task's result, or its error, after `limit` seconds at most."""
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory() as folder:
            result = PARTS[task.part](Attempt(task, host, Path(folder), started + limit))
    except Exception as error:  # no task stops the others
        result = error.row if isinstance(error, FailedError) else {"error": repr(error)}
    return {**task.facts, **result, "total_seconds": time.monotonic() - started}


def training(attempt: Attempt) -> Row:
    """Images a second of a training step; of one GPU, the mean of all, each by itself."""
    facts, gpus = attempt.task.facts, attempt.task.gpus
    parallel, pieces = HOW[facts["how"]]
    options = {"parallel": parallel, "pieces": pieces, "compile": attempt.host.compile}
    options |= {"batch": facts["batch"], "parts": facts["parts"]}
    options |= {"timesteps": TIMES[facts["times"]]}
    if gpus > 1:
        return attempt.result("measure", gpus, **options)
    rows = attempt.results_of_each("measure", **options)
    rates = [row["images_per_second"] for row in rows]
    rate = statistics.mean(rates)
    return {
        **rows[0],
        "images_per_second": rate,
        "of_each": rates,
        "seconds_per_step": facts["batch"] / rate,
        "matrix_rate": statistics.mean(row["matrix_rate"] for row in rows),
        "spread": max(row["spread"] for row in rows),
    }


def losses(attempt: Attempt) -> Row:
    """How far losses on several GPUs are from those on one; and if ranks change on the way."""
    counts, folder = attempt.task.facts["counts"], attempt.folder
    on_the_way = legs(counts)
    total = LEG_STEPS * len(on_the_way)
    steps = min(LOSS_STEPS, total)

    def part(world: int, parallel: str, last: int, name: str) -> list[Start]:
        run = str(folder / name)
        return as_ranks(world, attempt.command("small run", run=run, steps=last, parallel=parallel))

    # whole runs do not disturb each other
    runs = [part(count, "replicate", steps, str(count)) for count in counts[1:]]
    runs += [part(1, "replicate", total, "1")]
    attempt.run([start for starts in runs for start in starts])
    for number, (world, parallel) in enumerate(on_the_way, 1):
        attempt.run(part(world, parallel, LEG_STEPS * number, "legs"))
    one = _losses(folder / "1")
    apart = {str(count): _apart(_losses(folder / str(count)), one) for count in counts[1:]}
    resumed = _apart(_losses(folder / "legs"), one)
    row = {
        "steps": steps,
        "apart": apart,
        "legs": on_the_way,
        "steps_each": LEG_STEPS,
        "resumed_apart": resumed,
        "tolerance": TOLERANCE,
    }
    most = max(resumed, *apart.values())
    return row if most < TOLERANCE else row | {"error": f"losses are {most:.2g} apart"}


def _losses(run: Path) -> dict[int, float]:
    rows = read_rows(run / "metrics.jsonl")
    assert [row["step"] for row in rows] == [*range(1, len(rows) + 1)]
    return {row["step"]: row["total"] for row in rows}


def _apart(several: dict[int, float], one: dict[int, float]) -> float:
    """The largest relative difference of a step's loss."""
    return max(abs(loss / one[step] - 1) for step, loss in several.items())


def killed(attempt: Attempt) -> Row:
    """A rank is killed: how the others end, and after how many seconds."""
    file, world = attempt.folder / "killed-at", attempt.task.gpus
    parallel, _ = HOW[attempt.task.facts["how"]]
    run = str(attempt.folder / "run")
    command = attempt.command("killed", run=run, file=str(file), ranks=world, parallel=parallel)
    starts = as_ranks(world, command)
    ended = run_together(starts, attempt.host.variables, attempt.left, patience=math.inf)
    if not file.exists():
        check(ended)
        raise FailedError("no rank was killed", ended[0].log)
    *others, _ = ended
    named = f"rank {world - 1} was last seen"
    lines = [line for one in others for line in one.log.splitlines() if named in line]
    row = {
        "rank": world - 1,
        "statuses": [one.status for one in ended],
        "seconds": max(one.at for one in others) - float(file.read_text()),
        "named_by": len(lines),
        "message": lines[0][lines[0].index(named) :] if lines else "",
    }
    faults = [] if all(one.status for one in others) else ["not all ended by themselves"]
    faults += [] if lines else ["none named the rank"]
    log = "\n".join(one.log[-2000:] for one in others)
    return row | ({"error": ", ".join(faults), "log": log} if faults else {})


def recorded(attempt: Attempt) -> Row:
    """Whether a compiled step, recorded on GPUs, is the step that is not."""
    command = ["-m", recorded_step.__name__, attempt.host.device]
    command += ["1"] if attempt.host.toy else []
    ended = attempt.run(as_ranks(attempt.task.gpus, command))
    lines = [line for one in ended for line in one.log.splitlines() if line.startswith("{")]
    differences = {case: apart for line in lines for case, apart in json.loads(line).items()}
    row = {"differences": differences, "tolerance": recorded_step.CLOSE}
    most = max(differences.values())
    return row if most < recorded_step.CLOSE else row | {"error": f"steps are {most:.2g} apart"}


PARTS: dict[str, Callable[[Attempt], Row]] = {
    "losses": losses,
    "killed": killed,
    "training": training,
    "sampling": sampling,
    "recorded step": recorded,
}
