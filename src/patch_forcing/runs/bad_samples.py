"""Samples that could not be read: each named once, and a stop when they are too many."""

from pathlib import Path

from patch_forcing.core.errors import UserError
from patch_forcing.data.batch import ReplacesBadSamples, TrainingData
from patch_forcing.runs.run_folder import BAD_SAMPLES, StepLines

FEW = 10
"""So many never stop a run."""


class BadSamples:
    """bad-samples.jsonl of a run, as of `done` steps; stays empty for data that has none."""

    def __init__(self, run: Path, done: int, data: TrainingData, batch_size: int):
        self.lines = StepLines(run / BAD_SAMPLES, done)
        self._data = data if isinstance(data, ReplacesBadSamples) else None
        self._batch_size = batch_size
        self._named = {row.get("path") for row in self.lines.rows()}

    @property
    def count(self) -> int:
        """How many the run has come upon."""
        return len(self._named)

    def record(self, steps: int) -> None:
        """Write down what the batch of step number `steps`, counted from 1, came upon.

        Raises UserError if by now too many of the samples looked at are bad.
        """
        if self._data is None:
            return
        for bad in self._data.bad_samples():
            if bad.path not in self._named:
                self._named.add(bad.path)
                self.lines.write({"step": steps, "path": bad.path, "reason": bad.reason})
        looked_at = min(steps * self._batch_size, self._data.num_samples)
        if self.count > max(FEW, self._data.max_bad_share * looked_at):
            example = self.lines.rows()[-1]
            raise UserError(
                f"{self.count} of {looked_at} samples are bad, more than data.max_bad_share="
                f"{self._data.max_bad_share:g}, such as {example['path']}: {example['reason']}; "
                f"{self.lines.file} names all: raise --data.max-bad-share, or remove them and "
                "train in another --out"
            )
