"""A training run: resumes by itself, loses nothing, and knows no data, no condition and no term."""

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from patch_forcing.core.errors import UserError
from patch_forcing.data.batch import Inferred, TrainingData
from patch_forcing.distributed.ranks import ALONE, Ranks
from patch_forcing.distributed.shards import is_sharded
from patch_forcing.io.atomic import remove_leftovers
from patch_forcing.io.run_layout import CHECKPOINTS, checkpoints, newest_sound
from patch_forcing.models.dit import PatchDiT
from patch_forcing.runs.checkpoint import load_checkpoint
from patch_forcing.runs.init import check_start, init_weights
from patch_forcing.runs.loop import Outcome, TrainingLoop
from patch_forcing.runs.memory import enough_memory
from patch_forcing.runs.recipe import Recipe
from patch_forcing.runs.run_folder import NO_CHANGES, Changes, one_training, open_run
from patch_forcing.runs.state import TrainingState, initial_state
from patch_forcing.runs.terms import RunTerm
from patch_forcing.runs.trackers import Trackers
from patch_forcing.runs.watch import Watch


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """A run in its folder, with all that it is made of.

    name: of the recipe; a folder holds runs of one name. terms: of the objective, in order. device,
    ranks: what it computes on. init_from: a model whose weights a new run starts from; one with a
    checkpoint does not read it. track: trackers, by name, that get all that metrics.jsonl gets;
    none can stop a run. progress: whether to draw a bar; None draws it if stderr is a terminal.
    on_open: called with the data before anything is trained or written. changes: what may differ
    from the run that began here.
    Raises UserError if the batch does not split over the ranks, or if a head alone is to be trained
    and no model is named.
    """

    name: str
    recipe: Recipe
    folder: Path
    data: TrainingData
    terms: tuple[RunTerm, ...] = ()
    device: torch.device | str = "cpu"
    ranks: Ranks = ALONE
    init_from: str | None = None
    track: tuple[str, ...] = ()
    progress: bool | None = None
    on_open: Callable[[TrainingData], None] | None = None
    changes: Changes = NO_CHANGES

    def __post_init__(self) -> None:
        check_start(self.recipe.train_only, self.init_from)
        recipe, world = self.recipe, self.ranks.world
        shares = world * recipe.accumulate
        if recipe.batch_size % shares:
            raise UserError(
                f"batch_size={recipe.batch_size} does not split equally over {world} ranks in "
                f"accumulate={recipe.accumulate} parts each: choose a multiple of {shares}"
            )

    def train(self) -> Outcome:
        """To the last step, from the newest checkpoint if there is one.

        A damaged checkpoint is passed over with a warning, and a save that fails is tried again.
        Raises UserError if the folder holds another run or one that is going on, every checkpoint
        is damaged or every save fails, too many samples are bad, or the loss is not finite;
        Interrupted after Ctrl-C, SIGTERM or SIGUSR1 on any rank, with a checkpoint saved.
        """
        with ExitStack() as held:
            return self._train(held)

    def _train(self, held: ExitStack) -> Outcome:
        ranks = self.ranks
        state = self._begin(held)
        done = self._resume(state)
        with ranks.together():
            trackers = None
            if ranks.first and self.track:
                trackers = Trackers(self.track, self.folder, done, asdict(self.recipe))
            watch = Watch(
                self.recipe, self.folder, state.ema, self.device, ranks, done, trackers, self.data
            )
        with closing(watch):
            return TrainingLoop(self, state, done, watch).run()

    def _record(self) -> dict[str, Any]:
        """What run.json keeps of data and terms; a resumed run must have the same."""
        record = dict(self.data.facts) if isinstance(self.data, Inferred) else {}
        for term in self.terms:
            record |= term.record
        return record

    def _begin(self, held: ExitStack) -> TrainingState:
        """The first weights; and the folder, locked, opened and recorded.

        The lock comes after all that can be refused: a mistake leaves no folder behind.
        """
        ranks, start = self.ranks, dict[str, str]()

        def begin(model: PatchDiT) -> None:
            if self.init_from is not None and not checkpoints(self.folder):
                start.update(init_weights(model, self.init_from, self.recipe.train_only))

        with enough_memory(self.recipe, ranks, "before the first step"), ranks.connected():
            state = initial_state(
                self.recipe, self.data, self.device, self.terms, ranks=ranks, begin=begin
            )
        with ranks.together():
            if ranks.first:
                if self.on_open is not None:
                    self.on_open(self.data)
                held.enter_context(one_training(self.folder))
                record, init = self._record(), start or None
                how = (self.folder, self.name, self.recipe)
                open_run(*how, record, self.init_from, init, changes=self.changes)
                (self.folder / CHECKPOINTS).mkdir(exist_ok=True)
                remove_leftovers(self.folder / CHECKPOINTS)
        return state

    def _resume(self, state: TrainingState) -> int:
        """Fills the state, the same on all ranks; returns how many steps were done."""
        ranks = self.ranks
        with ranks.together():
            newest = newest_sound(self.folder)
            done = load_checkpoint(newest, state) if newest else 0
        mine = self._record(), done
        if any(theirs != mine for theirs in ranks.gather(mine)):
            raise UserError(
                f"ranks see different data, or checkpoints in {self.folder}: name places on a disk "
                "that all machines share"
            )
        if not is_sharded(state.model):
            modules = *state.networks().values(), *state.term_modules().values()
            ranks.copy_first_(chain.from_iterable(module.parameters() for module in modules))
        return done
