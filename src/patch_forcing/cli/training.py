"""Training from the command line, whichever command began it, and what is said at its end."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patch_forcing.cli.options import parse_device
from patch_forcing.io.run_metrics import first_and_last, read_metrics
from patch_forcing.views.progress import duration

if TYPE_CHECKING:
    from patch_forcing.data.batch import TrainingData
    from patch_forcing.runs.loop import Outcome
    from patch_forcing.runs.recipe import Recipe


def train_and_report(
    name: str, recipe: "Recipe", run: Path, *, device: str | None, **options: Any
) -> None:
    """Train in the folder `run`, and print how it went.

    options: as `runs.trainer.train` takes them.
    """
    from patch_forcing.runs.run_folder import BAD_SAMPLES
    from patch_forcing.runs.trainer import train

    where = parse_device(device)
    outcome = train(name, recipe, run, device=where, on_open=_print_summary, **options)
    if not outcome.writes:
        return
    if outcome.steps == outcome.steps_before:
        print(complete(run, outcome.steps))
    else:
        print(_losses(run, outcome))
        print(_sheets(run))
    if outcome.bad_samples:
        print(f"bad samples, replaced by others: {outcome.bad_samples}, see {run / BAD_SAMPLES}")
    print(f"next: {sample_line(str(run), outcome.num_classes, outcome.class_names, outcome.texts)}")


def complete(run: Path, steps: int) -> str:
    """What is said of a run that has nothing left to do."""
    return f"{run} is complete at {_steps(steps)}; --steps N trains on"


def sample_line(
    model: str, num_classes: int, class_names: Sequence[str], texts: Sequence[str] = ()
) -> str:
    """A command that samples a model, with a text or the names of two of its classes, if any."""
    names = [name for name in class_names if "," not in name] or list(map(str, range(num_classes)))
    labels = f" --labels {shlex.quote(','.join(names[:2]))}" if names else ""
    if texts:
        labels = f" --prompt {shlex.quote(texts[0])}"
    return f"patch-forcing sample {shlex.quote(model)}{labels} --count 8"


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count} steps"


def _losses(run: Path, outcome: "Outcome") -> str:
    since = f", resumed at {outcome.steps_before}," if outcome.steps_before else ""
    rows, parts = read_metrics(run), []
    for title, field in (("loss", "velocity"), ("held out", "held_out")):
        if ends := first_and_last(rows, field):
            first, last = (f"{loss:.3f}" for loss in ends)
            parts.append(f"{title} {last}" if len(rows) == 1 else f"{title} {first} -> {last}")
    losses = f": {', '.join(parts)}" if parts else ""
    return f"{_steps(outcome.steps)}{since} in {duration(outcome.seconds)}{losses}"


def _sheets(run: Path) -> str:
    sheets = sorted((run / "samples").glob("step-*.png"))
    if not sheets:
        return "no samples were drawn; --sample-every N draws them"
    others = f", the newest of {len(sheets)} sheets" if len(sheets) > 1 else ""
    return f"samples with their difficulty: {sheets[-1]}{others}"


def _print_summary(data: "TrainingData") -> None:
    from patch_forcing.data.batch import Inferred

    if isinstance(data, Inferred):
        print(data.summary, flush=True)
