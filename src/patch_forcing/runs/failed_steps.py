"""Steps whose loss or gradient was not finite: which samples they saw."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from patch_forcing.core.errors import UserError
from patch_forcing.data.batch import NamesSamples, TrainingData
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.distributed.ranks import Ranks
from patch_forcing.runs.recipe import Recipe
from patch_forcing.runs.run_folder import FAILED_STEPS, StepLines
from patch_forcing.training.finite import NotFiniteError


@contextmanager
def named_samples(
    folder: Path, done: int, recipe: Recipe, data: TrainingData, ranks: Ranks
) -> Iterator[None]:
    """If too many steps failed, failed-steps.jsonl of the run's folder gets their samples.

    done: steps of the checkpoint resumed from. Raises UserError naming that file.
    """
    try:
        yield
    except NotFiniteError as error:
        lines = StepLines(folder / FAILED_STEPS, done, writes=ranks.first)
        for failed in error.steps:
            row: dict[str, Any] = {
                "step": failed.step,
                "loss": failed.loss,
                "gradient_norm": failed.norm,
            }
            if isinstance(data, NamesSamples):
                spec = BatchSpec(failed.step - 1, recipe.batch_size, recipe.seed)
                row["samples"] = data.sample_names(spec)
            lines.write(row)
        raise UserError(f"{error}; {lines.file} names the samples of these steps") from None
