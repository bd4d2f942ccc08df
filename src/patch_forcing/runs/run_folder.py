"""run.json, metrics.jsonl and other lines by step: what a run is, and how it goes."""

import json
import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from patch_forcing.core.errors import UserError
from patch_forcing.io.atomic import is_aside, remove_leftovers, write_atomic
from patch_forcing.io.lock import HeldError, exclusive
from patch_forcing.io.provenance import commit, versions
from patch_forcing.io.run_layout import (
    RUN,
    checkpoint_step,
    checkpoints,
    holds_own_run,
    is_run_folder,
)
from patch_forcing.io.run_metrics import METRICS
from patch_forcing.io.run_record import flat, read_record
from patch_forcing.runs.changed_data import check_facts, may_have_moved
from patch_forcing.runs.changed_recipe import check_recipe
from patch_forcing.runs.recipe import Recipe

LOG = logging.getLogger("patch_forcing")
BAD_SAMPLES, FAILED_STEPS = "bad-samples.jsonl", "failed-steps.jsonl"
LOCK = ".training-lock"


@dataclass(frozen=True)
class Changes:
    """What a run may go on with that makes another run of it.

    data: whether images may have been added or removed. fields: of the recipe, which may differ.
    """

    data: bool = False
    fields: frozenset[str] = frozenset()


NO_CHANGES = Changes()


def open_run(
    run: Path,
    name: str,
    recipe: Recipe,
    facts: Mapping[str, Any] | None = None,
    init_from: str | None = None,
    init: Mapping[str, str] | None = None,
    *,
    changes: Changes = NO_CHANGES,
) -> None:
    """Write run.json, or check that the run there is the same one, if it got to a checkpoint.

    facts: what was learnt by looking at data and terms. init_from: the model that it starts from.
    init: what was made of it; a run that got further keeps its record. changes: what may differ, of
    which run.json then tells.
    Raises UserError naming the first field that differs, or if the folder holds something else.
    """
    resolved = json.loads(json.dumps(asdict(recipe)))  # as JSON gives it back
    resolved["data"] = {"kind": type(recipe.data).__name__, **resolved["data"]}
    begun, history = dict(init or {}), dict[str, list[dict[str, Any]]]()
    for file in (RUN, METRICS, BAD_SAMPLES):
        remove_leftovers(run, file)
    if is_run_folder(run) and checkpoints(run):
        before = read_record(run)
        if before.get("name") != name:
            raise UserError(
                f"{run} holds a run of {before.get('name')!r}, not of {name!r}: "
                "choose another --out"
            )
        then, now = flat({"found": before.get("found", {})}), flat({"found": dict(facts or {})})
        may = {"data.path"} if may_have_moved(then, now) else set[str]()
        fields = flat(before["recipe"]), flat(resolved)
        overridden = check_recipe(run, *fields, may=may, override=changes.fields)
        begun = before.get("init_from", {})
        if begun.get("model") != init_from:
            raise UserError(
                f"{run} began with --init-from {begun.get('model')}, now it is {init_from}: use "
                "the same to resume, or choose another --out"
            )
        replaced = check_facts(run, then, now, allow=changes.data)
        for kind, values in (("changed_data", replaced), ("overrides", overridden)):
            history[kind] = [*before.get(kind, []), *_changed(run, values)]
    else:
        _check_place(run)
    record = {"name": name, "recipe": resolved}
    record |= {"found": facts} if facts else {}
    record |= {"init_from": begun} if begun else {}
    record |= {kind: lines for kind, lines in history.items() if lines}
    record |= {"versions": versions(), "commit": commit()}
    write_atomic(run / RUN, json.dumps(record, indent=2) + "\n")


def _changed(run: Path, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What run.json gets of changes; a warning tells of them. Nothing if there are none."""
    if not values:
        return []
    step = checkpoint_step(checkpoints(run)[-1])
    LOG.warning(
        "changed: %s; from step %d on this is not bitwise the run that began",
        ", ".join(f"{name} {old} → {new}" for name, (old, new) in values.items()),
        step,
    )
    return [{"step": step, **values}]


@contextmanager
def one_training(run: Path) -> Iterator[None]:
    """The block is the only training in the run folder.

    Raises UserError naming the process that trains there already, or if others' files are there.
    """
    _check_place(run)
    run.mkdir(parents=True, exist_ok=True)
    try:
        with exclusive(run / LOCK):
            yield
    except HeldError as holder:
        raise UserError(
            f"{run} is being trained by {holder}: wait for it, or choose another --out"
        ) from None


def _check_place(run: Path) -> None:
    """Raises UserError unless the folder is new, empty or a run's."""
    if run.exists() and not run.is_dir():
        raise UserError(f"{run} is a file: choose another --out")
    # another training may be writing its run.json aside, or was killed just then
    present = {file.name for file in run.iterdir() if not is_aside(file)} if run.is_dir() else set()
    if present - {LOCK} and not holds_own_run(run):
        raise UserError(f"{run} is not empty and holds no run: choose another --out")


class StepLines:
    """A file of lines that each have a step; a resumed run continues it without a seam.

    A line that the system does not take is kept and tried again with the next: a full disk leaves
    no half line and no gap.
    """

    def __init__(self, file: Path, done: int, *, writes: bool = True):
        """done: steps that count; lines of later steps, lost with an interruption, are dropped.

        writes: whether this process does; the others only seem to.
        """
        self.file, self._writes = file, writes
        if writes and file.exists():
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
            write_atomic(file, "".join(line for line in lines if _step(line) <= done))
        self._end = file.stat().st_size if file.exists() else 0
        self._pending: list[str] = []

    def write(self, row: Mapping[str, float | int | str | list[str]]) -> None:
        """Append one line, soon; what is not finite becomes null, since JSON knows no NaN."""
        if not self._writes:
            return
        written = {name: None if _is_lost(value) else value for name, value in row.items()}
        self._pending.append(json.dumps(written, allow_nan=False) + "\n")
        with suppress(OSError):  # a checkpoint, which flushes, will say so
            self.flush()

    def flush(self) -> None:
        """Append what could not be written yet. Raises OSError if it still cannot."""
        if not self._pending:
            return
        with self.file.open("ab") as stream:
            stream.truncate(min(self._end, stream.tell()))  # what a write that failed left behind
            stream.write("".join(self._pending).encode())
            stream.flush()
            self._end = stream.tell()
        self._pending.clear()

    def rows(self) -> list[dict[str, Any]]:
        """What was written, or will be."""
        written = self.file.read_text(encoding="utf-8") if self.file.exists() else ""
        written = written.encode()[: self._end].decode() + "".join(self._pending)
        return [json.loads(line) for line in written.splitlines()]


def rows_until(file: Path, done: int) -> list[dict[str, Any]]:
    """The lines of the steps that are done; none if the file is not there."""
    lines = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
    return [json.loads(line) for line in lines.splitlines(keepends=True) if _step(line) <= done]


def _is_lost(value: float | int | str | list[str]) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _step(line: str) -> float:
    """The step of a line; a line cut short counts as lost."""
    if not line.endswith("\n"):
        return float("inf")
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return float("inf")
