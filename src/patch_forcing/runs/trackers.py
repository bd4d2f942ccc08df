"""Where curves go besides metrics.jsonl: TensorBoard, trackio and wandb, each an extra."""

import contextlib
import json
import logging
import math
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable
from uuid import uuid4

from patch_forcing.core.errors import UserError, unknown_name
from patch_forcing.core.extras import install_line
from patch_forcing.io.atomic import write_atomic

LOG = logging.getLogger("patch_forcing")
STATE = "trackers.json"
"""Of a run folder: each tracker's name for the run, and the last step it was told of."""
PROJECT = "patch-forcing"
WAIT = 15.0
"""Seconds that the end of a run waits for trackers."""
_MAX_CALLS = 1000
"""Calls that may wait for a slow tracker; more are dropped."""


@runtime_checkable
class Tracker(Protocol):
    """One place that shows curves and images. Any call may fail."""

    def log(self, step: int, row: Mapping[str, float]) -> None: ...

    def image(self, step: int, name: str, file: Path) -> None: ...

    def close(self) -> None: ...


class Opening(NamedTuple):
    """What a tracker is opened with. done: steps of the checkpoint that the run goes on from."""

    run: Path
    identity: str
    done: int
    config: Mapping[str, Any]


class TensorBoard:
    """Event files in RUN/tensorboard. On resuming, steps after the checkpoint are taken back.

    Not torch's SummaryWriter: its thread may die of a full disk, and its flush then never ends.
    """

    def __init__(self, opening: Opening):
        from tensorboard.compat.proto.event_pb2 import SessionLog

        folder = opening.run / "tensorboard"
        folder.mkdir(parents=True, exist_ok=True)
        started = f"{time.time():017.6f}"  # viewers read files in the order of their names
        self._file = folder / f"events.out.tfevents.{started}.{uuid4().hex[:8]}"
        self._end = 0
        self._append(file_version="brain.Event:2")
        if opening.done:
            start = SessionLog(status=SessionLog.START)
            self._append(session_log=start, step=opening.done + 1)

    def log(self, step: int, row: Mapping[str, float]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=value) for name, value in row.items()]
        self._append(summary=Summary(value=values), step=step)

    def image(self, step: int, name: str, file: Path) -> None:
        from PIL import Image
        from tensorboard.compat.proto.summary_pb2 import Summary

        with Image.open(file) as opened:
            width, height = opened.size
        image = Summary.Image(
            width=width, height=height, colorspace=3, encoded_image_string=file.read_bytes()
        )
        self._append(summary=Summary(value=[Summary.Value(tag=name, image=image)]), step=step)

    def close(self) -> None:
        pass

    def _append(self, **fields: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        record = BytesIO()
        RecordWriter(record).write(Event(wall_time=time.time(), **fields).SerializeToString())
        with self._file.open("ab") as stream:
            stream.truncate(min(self._end, stream.tell()))  # what a write that failed left behind
            stream.write(record.getvalue())
            stream.flush()
            self._end = stream.tell()


class Wandb:
    """A run of wandb, whose project WANDB_PROJECT names; WANDB_MODE=offline needs no network."""

    def __init__(self, opening: Opening):
        import wandb

        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                name=opening.run.absolute().name,
                id=opening.identity,
                resume="allow",
                dir=str(opening.run),
                config=dict(opening.config),
                settings=wandb.Settings(console="off", silent=True),
            )
        except wandb.errors.UsageError as error:
            raise UserError(
                f"--track wandb: {error}: run wandb login, or set WANDB_MODE=offline"
            ) from None

    def log(self, step: int, row: Mapping[str, float]) -> None:
        self._run.log(dict(row), step=step)

    def image(self, step: int, name: str, file: Path) -> None:
        import wandb

        self._run.log({name: wandb.Image(str(file))}, step=step)

    def close(self) -> None:
        self._run.finish()


class Trackio:
    """A run of trackio: on this machine, unless TRACKIO_SPACE_ID or the like says otherwise."""

    def __init__(self, opening: Opening):
        import trackio

        self._run = trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", PROJECT),
            name=opening.identity,
            resume="allow",
            config=dict(opening.config),
            embed=False,
        )

    def log(self, step: int, row: Mapping[str, float]) -> None:
        self._run.log(dict(row), step=step)

    def image(self, step: int, name: str, file: Path) -> None:
        import trackio

        self._run.log({name: trackio.Image(str(file))}, step=step)

    def close(self) -> None:
        self._run.finish()


TRACKERS: dict[str, Callable[[Opening], Tracker]] = {
    "tensorboard": TensorBoard,
    "trackio": Trackio,
    "wandb": Wandb,
}
"""By name, which is that of the package and of the extra too."""


def check_trackers(names: Sequence[str]) -> tuple[str, ...]:
    """The names, each once. Raises UserError for an unknown one, or one that is not installed."""
    for name in names:
        if name not in TRACKERS:
            raise unknown_name("tracker", name, TRACKERS)
        if find_spec(name) is None:
            raise UserError(
                f"--track {name} needs a package that is not installed: {install_line(name)}"
            )
    return tuple(dict.fromkeys(names))


class Trackers:
    """All trackers of a run, told in a thread of their own: none can stop the run or slow it down.

    What fails is said once for each tracker, and tried again with the next row.
    """

    def __init__(self, names: Sequence[str], run: Path, done: int, config: Mapping[str, Any]):
        """Open them. Raises UserError for what the user must mend, such as a missing login."""
        self._file, self._warned = run / STATE, set[str]()
        self._state = _read(self._file) if done else {}
        self._open: dict[str, Tracker] = {}
        config = json.loads(json.dumps(config, default=str))  # places are texts to them
        for name in check_trackers(names):
            known = self._state.setdefault(name, {"id": f"{run.absolute().name}-{uuid4().hex[:8]}"})
            opening = Opening(run, str(known["id"]), done, config)
            tracker = self._try(name, partial(TRACKERS[name], opening))
            if tracker is not None:
                self._open[name] = tracker
            if name == "tensorboard":
                known["step"] = done  # it takes back what came after
        if self._open:
            self._try(STATE, self._remember)
        self._calls: queue.Queue[Callable[[], None] | None] = queue.Queue(_MAX_CALLS)
        self._thread = threading.Thread(target=self._work, daemon=True)
        if self._open:
            self._thread.start()

    def log(self, step: int, row: Mapping[str, Any]) -> None:
        """The finite numbers of a line of metrics.jsonl, the step left out."""
        kept = {
            name: float(value)
            for name, value in row.items()
            if name != "step" and isinstance(value, int | float) and math.isfinite(value)
        }
        self._tell(step, lambda tracker: tracker.log(step, kept), last=True)

    def image(self, step: int, name: str, file: Path) -> None:
        """A picture, before the line of the same step is logged."""
        self._tell(step, lambda tracker: tracker.image(step, name, file))

    def close(self) -> None:
        """Wait until they are done, WAIT seconds at most."""
        if not self._open:
            return
        for name, tracker in self._open.items():
            self._put(name, partial(self._try, name, tracker.close))
        with contextlib.suppress(queue.Full):  # they are behind, as was said
            self._calls.put_nowait(None)
        self._thread.join(WAIT)
        if self._thread.is_alive():
            self._warn(", ".join(self._open), f"not done {WAIT:g} seconds after the end")
        self._open = {}

    def _tell(self, step: int, call: Callable[[Tracker], None], *, last: bool = False) -> None:
        for name, tracker in self._open.items():

            def tell(name: str = name, tracker: Tracker = tracker) -> None:
                if step <= self._state[name].get("step", 0):
                    return  # it was told before the run was interrupted
                self._try(name, lambda: call(tracker))
                if last:
                    self._state[name]["step"] = step
                    self._try(STATE, self._remember)

            self._put(name, tell)

    def _put(self, name: str, call: Callable[[], None]) -> None:
        try:
            self._calls.put_nowait(call)
        except queue.Full:
            self._warn(name, f"{_MAX_CALLS} calls behind, further ones are dropped")

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()

    def _remember(self) -> None:
        write_atomic(self._file, json.dumps(self._state) + "\n")

    def _try(self, name: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except UserError:
            raise
        except Exception as error:  # whatever a foreign package raises
            self._warn(name, str(error).strip().partition("\n")[0] or type(error).__name__)

    def _warn(self, name: str, reason: str) -> None:
        if name not in self._warned:
            self._warned.add(name)
            LOG.warning("%s: %s; training goes on, metrics.jsonl has all", name, reason)


def known_trackers(run: Path) -> tuple[str, ...]:
    """The trackers that a run had."""
    return tuple(name for name in _read(run / STATE) if name in TRACKERS)


def _read(file: Path) -> dict[str, dict[str, Any]]:
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
        return {str(name): {"id": str(known["id"]), **known} for name, known in state.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
