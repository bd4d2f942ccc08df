"""The recipe of a run, made again of what run.json says."""

from pathlib import Path
from typing import NamedTuple

from patch_forcing.core.errors import UserError
from patch_forcing.data.recorded_source import recorded_source
from patch_forcing.io.run_layout import RUN, is_run_folder
from patch_forcing.io.run_record import built, read_record
from patch_forcing.runs.changed_recipe import BEFORE
from patch_forcing.runs.recipe import Recipe


class RecordedRun(NamedTuple):
    """What a run is of. name: of its recipe. init_from: the model that it started from."""

    name: str
    recipe: Recipe
    init_from: str | None


def recorded_run(run: Path) -> RecordedRun:
    """Reads run.json. A field that it lacks is as it was before there was such a field.

    Raises UserError if the folder is no run's, if its data came from Python, or if a field does not
    fit.
    """
    if not is_run_folder(run):
        raise UserError(
            f"{run} is no run folder, since it has no {RUN}: name the --out of a training"
        )
    record = read_record(run)
    older = {name: value for name, value in BEFORE.items() if "." not in name}
    values = {**older, **record["recipe"]}
    values["data"] = recorded_source(run, values["data"])
    init_from = record.get("init_from", {}).get("model")
    return RecordedRun(str(record.get("name")), built(Recipe, values, run), init_from)
