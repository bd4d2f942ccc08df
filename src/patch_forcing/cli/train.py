"""`patch-forcing train RECIPE`."""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import arg

from patch_forcing.cli.options import check_out, parse, parse_device
from patch_forcing.core.errors import UserError
from patch_forcing.data.source import ChecksPlace
from patch_forcing.generation.find import check_model
from patch_forcing.io.run_layout import checkpoints
from patch_forcing.runs.named_recipe import NamedRecipe
from patch_forcing.runs.recipe import SCRATCH, Recipe
from patch_forcing.runs.recipes import RECIPES, find_recipe
from patch_forcing.runs.trackers import check_trackers


@dataclass(frozen=True)
class Options:
    """What `train RECIPE` takes."""

    recipe: Annotated[Recipe, arg(name="")] = field()
    out: Path | None = None
    """Run folder; an unfinished run there is resumed. Default: runs/RECIPE."""
    init_from: str | None = None
    """A model to start from, as `sample` takes it; none: from scratch. The network and the images
    take its sizes where no others are given. Resuming does not read it again. Default: from
    scratch; of images, without a GPU, the bundled model that suits them."""
    minutes: float | None = None
    """Time for the whole command, in place of --steps: a few steps are timed at its start, and as
    many are planned as fit. Default: 20 for images, without a GPU and without --steps."""
    device: str | None = None
    """cpu, cuda, cuda:1, mps; default: a CUDA GPU if there is one."""
    dry_run: bool = False
    """Say what the run will take in time, memory and disk, and stop."""
    json: bool = False
    """With --dry-run: print the resolved run and all figures as one JSON object."""
    track: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """tensorboard, trackio or wandb, for curves besides those of metrics.jsonl; several: with
    commas, or the option again."""
    allow_changed_data: bool = False
    """Resume though images were added or removed since: no longer bit for bit, as run.json says."""


def train(args: Sequence[str]) -> None:
    """Run the command."""
    if not args or args[0] in ("-h", "--help"):
        print(_USAGE)
        return
    if args[0] == "--list":
        print("\n".join(_row(name, named) for name, named in RECIPES.items()))
        return
    name = args[0]
    if name.startswith("-"):
        raise UserError(f"train {name}: the recipe comes first: patch-forcing train RECIPE {name}")
    named = find_recipe(name)
    where = " --data.path DATA" if getattr(named.recipe.data, "path", None) == "" else ""
    options = parse(
        Options,
        args[1:],
        prog=f"patch-forcing train {name}",
        description=f"Train the recipe {name}. Needs {named.needs}. Reaches: {named.reaches}.",
        example=f"patch-forcing train {name}{where} --dry-run",
        default=Options(named.recipe),
    )
    run = options.out or Path("runs") / name
    track = check_trackers([part for given in options.track for part in given.split(",")])
    _check_honoured(named, options)
    source: Any = options.recipe.data
    planned = options.dry_run and not getattr(source, "path", "")
    sizes = named.sizes if planned else None
    if sizes is None and isinstance(source, ChecksPlace):
        source.check()
    if options.init_from not in (None, SCRATCH) and not checkpoints(run):
        check_model(options.init_from)
    if options.dry_run:
        from patch_forcing.cli.dry_run import in_words, resolved_run

        device = parse_device(options.device)
        options, seconds = _planned(named, options, run, device)
        resolved = resolved_run(name, options, run, device, track, sizes, seconds)
        print(json.dumps(resolved, indent=2) if options.json else in_words(resolved))
        return
    check_out("--out", run)
    from patch_forcing.cli.training import train_and_report

    options, _ = _planned(named, options, run, parse_device(options.device))
    train_and_report(
        name,
        options.recipe,
        run,
        device=options.device,
        track=track,
        init_from=options.init_from,
        allow_changed_data=options.allow_changed_data,
    )


def _check_honoured(named: NamedRecipe, options: Options) -> None:
    """Raises UserError for options that this command, started so, cannot honour."""
    several = os.environ.get("WORLD_SIZE", "1") != "1"
    if options.minutes is not None:
        named.check_minutes(options.minutes, options.recipe, several=several)
    if options.json and not options.dry_run:
        raise UserError("--json without --dry-run: add --dry-run, or leave it out")
    if options.recipe.parallel == "shard" and not several:
        raise UserError(
            "--parallel shard with one process: start several with torchrun --nproc-per-node 2 -m "
            "patch_forcing train, or leave it out"
        )


def _planned(
    named: NamedRecipe, options: Options, run: Path, device: str
) -> tuple[Options, float | None]:
    """The options with what they leave open chosen, which is said, and the seconds planned."""
    from patch_forcing.runs.plan import plan_run

    plan = plan_run(
        options.recipe,
        named,
        run,
        device,
        options.init_from,
        options.minutes,
        say=partial(print, file=sys.stderr if options.dry_run else sys.stdout, flush=True),
        measured=not options.dry_run,
    )
    return replace(options, recipe=plan.recipe, init_from=plan.init_from), plan.seconds


_USAGE = """usage: patch-forcing train RECIPE [OPTIONS]
       patch-forcing train --list

Trains a recipe; the same command again resumes.

patch-forcing train --list           the recipes, what each needs and reaches
patch-forcing train RECIPE --help    every option of a recipe, with its default
patch-forcing train RECIPE --dry-run what it takes in time, memory and disk, without training

On several GPUs: torchrun --nproc-per-node 2 -m patch_forcing train RECIPE [OPTIONS]"""


def _row(name: str, named: NamedRecipe) -> str:
    return f"{name}\n  needs:   {named.needs}\n  reaches: {named.reaches}"
