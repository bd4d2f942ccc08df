"""Training a recipe in a folder: its data and terms are opened, and the run begins or goes on."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from patch_forcing.core.compiling import check_compiler
from patch_forcing.data.batch import TrainingData
from patch_forcing.distributed.ranks import join_ranks
from patch_forcing.features.network import FeatureNetwork
from patch_forcing.runs.loop import Outcome
from patch_forcing.runs.recipe import Recipe
from patch_forcing.runs.recorded import open_data
from patch_forcing.runs.run import TrainingRun
from patch_forcing.runs.run_folder import Changes
from patch_forcing.runs.terms import open_terms
from patch_forcing.runs.texts import fill_store
from patch_forcing.runs.trackers import check_trackers


def train(
    name: str,
    recipe: Recipe,
    run: Path,
    *,
    device: torch.device | str = "cpu",
    progress: bool | None = None,
    on_open: Callable[[TrainingData], None] | None = None,
    track: Sequence[str] = (),
    init_from: str | None = None,
    encoder: FeatureNetwork | None = None,
    allow_changed_data: bool = False,
    override: Collection[str] = (),
) -> Outcome:
    """Train a recipe in the folder `run`, from its newest checkpoint if it has one.

    Started by torchrun, the processes share each batch, and the first one writes. The rest is as in
    TrainingRun, which says what is raised, too.

    allow_changed_data: whether images may have been added or removed since the run began.
    override: fields of the recipe with which it may go on though they differ, by dotted names.
    encoder: what the recipe's alignment calls its encoder, in place of one found by that name.
    """
    track = check_trackers(track)
    with _deterministic(recipe.deterministic), join_ranks(device) as ranks:
        with ranks.together():
            recipe, data = open_data(run, recipe, allow_changed_data, device)
            if ranks.world == 1:  # several would all read all captions; each reads its own instead
                fill_store(data, progress)
            if recipe.compile:  # once nothing about the data can be wrong any more
                check_compiler(device, "add --no-compile")
            terms = open_terms(recipe, data, device, ranks, encoder)
        opened = TrainingRun(
            name,
            recipe,
            run,
            data,
            terms,
            device=device,
            ranks=ranks,
            init_from=init_from,
            track=track,
            progress=progress,
            on_open=on_open,
            changes=Changes(allow_changed_data, frozenset(override)),
        )
        return opened.train()


@contextmanager
def _deterministic(required: bool) -> Iterator[None]:
    """Where required, operations whose result can change are refused in here."""
    before = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    if required:
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warns)
