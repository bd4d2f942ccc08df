"""A run that is watched while it goes on, and can be stopped."""

import logging
from collections.abc import Generator
from threading import Condition, Event, Thread
from typing import NamedTuple

from patch_forcing.core.errors import UserError, is_out_of_memory
from patch_forcing.generation.result import PipelineResult
from patch_forcing.sampling.evaluation import Evaluation
from patch_forcing.studio.jobs import Job

LOG = logging.getLogger("patch_forcing")


class Seen(NamedTuple):
    """An evaluation of the images of these seeds."""

    seeds: tuple[int, ...]
    evaluation: Evaluation


class Stopped(Exception):  # noqa: N818
    """Raised within a run that is to end."""


class Run:
    """A job that a thread does.

    seen: the evaluations so far, in order. result: once it is finished. fault: a sentence on why it
    never will be. Nothing in it is shared with another run but the model.
    """

    def __init__(self, job: Job):
        self.job = job
        self.seen: list[Seen] = []
        self.result: PipelineResult | None = None
        self.fault = ""
        self._stop, self._news, self._ended = Event(), Condition(), Event()
        self._thread = Thread(target=self._work, name="studio run", daemon=True)

    def start(self) -> "Run":
        """Begin."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """End after the evaluation that is being made. What was seen stays."""
        self._stop.set()

    @property
    def stopped(self) -> bool:
        """Whether it was told to end before it was finished."""
        return self._stop.is_set() and self.result is None and not self.fault

    def join(self) -> None:
        """Wait until it has ended."""
        self._thread.join()

    def news(self) -> Generator[int, None, None]:
        """How many evaluations were seen, whenever there are more, until the run ends; those that
        come while nobody looks are passed over. Whoever leaves early stops the run.
        """
        count = 0
        try:
            while (latest := self._past(count)) > count:
                count = latest
                yield count
        finally:
            self.stop()

    def _past(self, count: int) -> int:
        """How many evaluations were seen, once there are more, or once the run has ended."""
        with self._news:
            self._news.wait_for(lambda: len(self.seen) > count or self._ended.is_set())
            return len(self.seen)

    def _work(self) -> None:
        try:
            self.result = self.job.run(self._look)
        except Stopped:
            pass
        except UserError as error:
            self.fault = str(error)
        except Exception as error:
            if is_out_of_memory(error):
                self.fault = "out of memory: take fewer seeds"
            else:
                LOG.exception("a run of the studio failed")
                self.fault = f"{type(error).__name__}: {error}"
        finally:
            with self._news:
                self._ended.set()
                self._news.notify_all()

    def _look(self, evaluation: Evaluation, seeds: tuple[int, ...]) -> None:
        if self._stop.is_set():
            raise Stopped
        with self._news:
            self.seen.append(Seen(tuple(seeds), evaluation))
            self._news.notify_all()
