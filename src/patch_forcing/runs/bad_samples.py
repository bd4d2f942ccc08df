"""Samples that could not be read: each named once, and a stop when they are too many."""

from itertools import chain
from pathlib import Path

from patch_forcing.core.errors import UserError
from patch_forcing.data.batch import ReplacesBadSamples, TrainingData
from patch_forcing.distributed.ranks import Ranks
from patch_forcing.runs.run_folder import BAD_SAMPLES, StepLines

MAX_HARMLESS = 10
"""Bad samples that never stop a run, whatever their share."""


class BadSamples:
    """bad-samples.jsonl of a run, as of `done` steps; stays empty for data that has none.

    Each rank reads its own part of the samples, and knows of the bad ones of all.
    """

    def __init__(self, run: Path, done: int, data: TrainingData, batch_size: int, ranks: Ranks):
        self.lines = StepLines(run / BAD_SAMPLES, done, writes=ranks.first)
        self._data = data if isinstance(data, ReplacesBadSamples) else None
        self._batch_size, self._ranks = batch_size, ranks
        rows = ranks.gather(self.lines.rows() if ranks.first else [])[0]
        self._named = {row["path"]: row.get("reason", "") for row in rows if "path" in row}

    @property
    def count(self) -> int:
        """How many bad samples the run has met."""
        return len(self._named)

    def record(self, steps: int) -> None:
        """Write down the bad samples that the batch of step `steps`, counted from 1, has met.

        Raises UserError if by now too many of the samples looked at are bad.
        """
        if self._data is None:
            return
        news = self._data.bad_samples()
        if self._ranks.any(bool(news)):
            for bad in chain(*self._ranks.gather(news)):
                if bad.path not in self._named:
                    self._named[bad.path] = bad.reason
                    self.lines.write({"step": steps, "path": bad.path, "reason": bad.reason})
        looked_at = min(steps * self._batch_size, self._data.num_samples)
        if self.count > max(MAX_HARMLESS, self._data.max_bad_share * looked_at):
            path, reason = list(self._named.items())[-1]
            raise UserError(
                f"{self.count} of {looked_at} samples are bad, more than data.max_bad_share="
                f"{self._data.max_bad_share:g}, such as {path}: {reason}; "
                f"{self.lines.file} names all: raise --data.max-bad-share, or remove them and "
                "train in another --out"
            )
