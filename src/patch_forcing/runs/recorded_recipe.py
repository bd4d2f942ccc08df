"""The recipe of a run, made again of what run.json says."""

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_type_hints

from patch_forcing.core.errors import UserError, unknown_name
from patch_forcing.io.run_layout import RUN, is_run_folder
from patch_forcing.runs.changed_recipe import BEFORE
from patch_forcing.runs.recipe import Recipe
from patch_forcing.runs.recipes import RECIPES
from patch_forcing.runs.run_folder import read_record

T = TypeVar("T")


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
    values["data"] = _source(run, values["data"])
    init_from = record.get("init_from", {}).get("model")
    return RecordedRun(str(record.get("name")), built(Recipe, values, run), init_from)


def _source(run: Path, values: dict[str, Any]) -> Any:
    """The data source, of the kinds that recipes have."""
    sources = [type(named.recipe.data) for named in RECIPES.values()]
    kinds = {source.__name__: source for source in sources}
    kind = kinds.get(values.get("kind", ""))
    if kind is None:
        raise UserError(
            f"{run} was trained on data that Python gave it: the same pf.train(…) resumes it"
        )
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    older = {name: BEFORE[f"data.{name}"] for name in names if f"data.{name}" in BEFORE}
    given = {name: value for name, value in values.items() if name != "kind"}
    return built(kind, older | given, run)


def built(kind: type[T], values: dict[str, Any], run: Path) -> T:
    """A frozen dataclass of JSON's values. Raises UserError naming a field that is not known."""
    hints = get_type_hints(kind)
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    for name in values.keys() - known:
        raise unknown_name(f"field in {run / RUN}", name, known)
    try:
        return kind(**{name: _value(hints[name], value, run) for name, value in values.items()})
    except TypeError as error:
        raise UserError(f"{run / RUN} does not fit ({error}): restore it") from None


def _value(hint: Any, value: Any, run: Path) -> Any:
    if isinstance(hint, type) and is_dataclass(hint) and isinstance(value, dict):
        return built(hint, value, run)
    return tuple(value) if isinstance(value, list) else value
