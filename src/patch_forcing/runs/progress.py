"""How far a training is, on stderr: a bar on a terminal, elsewhere a line every minute."""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from patch_forcing.core.losses import LossTerms
from patch_forcing.runs.held_out import HELD_OUT
from patch_forcing.views.progress import duration, on_terminal, progress_bar

FIRST, INTERVAL = 15.0, 60.0
"""Seconds before the first line, and between lines."""


class TrainingProgress:
    """A bar, or lines: `step 340 of 700: loss 0.312, held out 0.334, 512 images/s, 45 s left`.

    The loss is the velocity loss, the mean since the line before, or for a bar since the line of
    metrics.jsonl before. Steps that failed do not count.
    """

    def __init__(
        self,
        progress: bool | None,
        *,
        total: int,
        done: int,
        batch_size: int,
        clock: Callable[[], float] = time.monotonic,
    ):
        """progress: whether to draw a bar; None: one if stderr is a terminal, or else lines; False:
        nothing. total, done: steps. clock: seconds since whenever.
        """
        self._writes = progress is None and sys.stderr is not None and not on_terminal()
        self._bar = progress_bar(progress, total=total, initial=done, unit="step")
        self._total, self._steps, self._batch_size = total, done, batch_size
        self._losses: list[Tensor] = []
        self._held_out = ""
        self._clock = clock
        self._line = done, clock()  # the step and time of the last line
        self._wait = FIRST

    def __enter__(self) -> "TrainingProgress":
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def update(self, loss: LossTerms) -> None:
        """After each step. Nothing waits for the device unless a line is due."""
        self._steps += 1
        if self._bar.disable and not self._writes:
            return
        self._losses.append(loss.velocity.detach())
        self._bar.update()
        if self._writes and self._clock() - self._line[1] >= self._wait:
            self._write()

    def record(self, row: Mapping[str, Any]) -> None:
        """A line of metrics.jsonl, of the step that was just counted."""
        held_out = row.get(HELD_OUT)
        self._held_out = "" if held_out is None else f", held out {held_out:.3f}"
        if not self._bar.disable:
            shown = f"{self._losses_in_words()}, {row['images_per_second']:.3g} images/s"
            self._bar.set_postfix_str(shown, refresh=False)

    def _write(self) -> None:
        (step, then), now = self._line, self._clock()
        seconds = (now - then) / (self._steps - step)  # a step
        print(
            f"step {self._steps:,} of {self._total:,}: {self._losses_in_words()}, "
            f"{self._batch_size / seconds:.3g} images/s, "
            f"{duration(seconds * (self._total - self._steps))} left",
            file=sys.stderr,
            flush=True,
        )
        self._line, self._wait = (self._steps, now), INTERVAL

    def _losses_in_words(self) -> str:
        """The mean since the last call, and what is known of images held out."""
        mean = float(torch.stack(self._losses).nanmean())
        self._losses.clear()
        return f"loss {mean:.3f}{self._held_out}"
