"""`patch-forcing resume RUN`."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from patch_forcing.cli.options import parse
from patch_forcing.core.errors import UserError, unknown_name

if TYPE_CHECKING:
    from patch_forcing.runs.recipe import Recipe


@dataclass(frozen=True)
class Options:
    """What `resume` takes."""

    run: Positional[Annotated[Path, arg(metavar="RUN")]]
    """The folder of a training, of any recipe."""
    steps: int | None = None
    """Train up to this step. Default: as the run was begun."""
    override: tuple[str, ...] = ()
    """Go on with other values, such as optimizer.lr=1e-4 batch_size=128: no longer the run that it
    was, as run.json records. Later they hold without being given."""
    data_path: Annotated[str | None, arg(name="data.path")] = None
    """Where the same data are now, if they were moved."""
    allow_changed_data: bool = False
    """Resume though images were added or removed since: no longer bit for bit, as run.json says."""
    device: str | None = None
    """cpu, cuda, cuda:1, mps; default: a CUDA GPU if there is one."""


def resume(args: Sequence[str]) -> None:
    """Run the command."""
    options = parse(
        Options,
        args,
        prog="patch-forcing resume",
        description="Go on with a training from its newest checkpoint. All that is not given is as "
        "run.json has it; trackers are those that the run had.",
        example="patch-forcing resume runs/digits --steps 1000",
    )
    from patch_forcing.cli.training import complete, train_and_report
    from patch_forcing.io.run_layout import checkpoint_step, checkpoints
    from patch_forcing.runs.recorded_recipe import recorded_run

    run = options.run
    recorded = recorded_run(run)
    names, recipe = _overridden(recorded.recipe, options.override)
    if options.steps is not None:
        recipe = replace(recipe, steps=options.steps)
    if options.data_path is not None:
        recipe = _moved(recipe, recorded.name, options.data_path)
    _check_data(recipe)
    saved = checkpoints(run)
    if saved and checkpoint_step(saved[-1]) >= recipe.steps:
        print(complete(run, checkpoint_step(saved[-1])))
        return
    from patch_forcing.runs.trackers import known_trackers

    train_and_report(
        recorded.name,
        recipe,
        run,
        device=options.device,
        track=known_trackers(run),
        init_from=recorded.init_from,
        allow_changed_data=options.allow_changed_data,
        override=names,
    )


def _overridden(recipe: "Recipe", pairs: Sequence[str]) -> "tuple[frozenset[str], Recipe]":
    """The fields that `pairs` name, and the recipe with their values, read as by `train`."""
    from patch_forcing.runs.changed_recipe import MAY_CHANGE, OVERRIDABLE
    from patch_forcing.runs.recipe import Recipe

    @dataclass(frozen=True)
    class Fields:
        recipe: Annotated[Recipe, arg(name="")] = field()

    names, args = set(), []
    for pair in pairs:
        name, equals, value = pair.partition("=")
        name = name.replace("-", "_").lstrip("_")
        if name.startswith(("network.", "alignment.")):
            raise UserError(
                f"--override {name}: the weights of this run have the sizes it began with: begin "
                "another one with train"
            )
        if name.startswith("data.") and name not in MAY_CHANGE:
            raise UserError(
                f"--override {name}: a run keeps its data, and --data.path says where they are now"
            )
        if name not in OVERRIDABLE | MAY_CHANGE:
            raise unknown_name("field to override", name, OVERRIDABLE | MAY_CHANGE)
        if not equals or not value:
            raise UserError(f"--override {pair} has no value: write {name}=VALUE")
        names.add(name)
        args += _option(name, value)
    chosen = parse(Fields, args, prog="resume --override", description="", default=Fields(recipe))
    return frozenset(names), chosen.recipe


def _option(name: str, value: str) -> list[str]:
    """As `train` has it; a switch is two options there."""
    option = name.replace("_", "-")
    if value.lower() in ("true", "false"):
        return [f"--{option}" if value.lower() == "true" else f"--no-{option}"]
    return [f"--{option}={value}"]


def _check_data(recipe: "Recipe") -> None:
    """Raises UserError, before torch is loaded, if the data are not where they were."""
    from patch_forcing.data.source import ChecksPlace

    if isinstance(recipe.data, ChecksPlace):
        try:
            recipe.data.check()
        except UserError as error:
            raise UserError(f"{error}; if it was moved, --data.path says where it is") from None


def _moved(recipe: "Recipe", name: str, path: str) -> "Recipe":
    """The recipe with its data at another place. Raises UserError if they have none."""
    source = recipe.data
    if not is_dataclass(source) or all(field.name != "path" for field in fields(source)):
        raise UserError(f"--data.path {path}: the data of {name} lie nowhere: leave it out")
    return replace(recipe, data=replace(source, path=path))
