"""What a training says of where it is, and how ranks that see unlike things agree or stop."""

import dataclasses
import json
import math

import pytest
import torch
from torch import nn

import patch_forcing as pf
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.distributed.ranks import Place, Ranks
from patch_forcing.io.run_layout import checkpoints
from patch_forcing.runs.run import TrainingRun
from patch_forcing.runs.state import initial_state
from patch_forcing.runs.step import TrainStep
from patch_forcing.runs.trainer import train
from patch_forcing.runs.watch import error_row, look
from tests.runs.test_terms import Brightness, ReadsBrightness
from tests.support.threads import on_threads


class Visited(Place):
    """A place that remembers where it was."""

    def __init__(self):
        self.all = []
        super().__init__()

    def enter(self, what, *, waiting=False):
        if not self.all or self.all[-1] != what:
            self.all.append(what)
        super().enter(what, waiting=waiting)


def bars_of(text):
    """As they were left."""
    return [line for line in text.split("\r") if line.endswith("\n")]


def test_a_training_tells_others_where_it_is_and_shows_its_steps(recipe, tmp_path, capsys):
    still = dataclasses.replace(recipe.optimizer, lr=1e-30)  # at which weights stay as they are
    recipe = dataclasses.replace(recipe, steps=2, sample_every=2, optimizer=still)
    ranks = Ranks(place=Visited())
    TrainingRun("digits", recipe, tmp_path, recipe.data.open(), ranks=ranks, progress=True).train()
    assert ranks.place.all == [
        "starting",
        "reading the batch of step 1",
        "in step 1, until the sum of its gradients",
        "reading the batch of step 2",
        "in step 2, until the sum of its gradients",
        "saving step 2",
        "drawing samples of step 2",
    ]
    data = recipe.data.open()
    step = TrainStep(state := initial_state(recipe, data, "cpu"), recipe, "cpu")
    for number, line in enumerate((tmp_path / "metrics.jsonl").read_text().splitlines()):
        row = json.loads(line)
        assert row["lr"] == still.lr_at(number, recipe.steps)
        batch = data.batch(BatchSpec(number, recipe.batch_size, recipe.seed))
        errors = error_row(look(state.model, recipe, step.inputs(batch, number)))
        errors = {name: value for name, value in errors.items() if math.isfinite(value)}
        assert {name: row[name] for name in errors} == pytest.approx(errors, rel=1e-3)
    (bar,) = bars_of(capsys.readouterr().err)
    assert "2/2" in bar
    assert "images/s" in bar


@dataclasses.dataclass(frozen=True)
class Unlike(ReadsBrightness):
    """A term whose weights begin as the number of the rank, kept in `layers`."""

    rank: int = 0
    layers: list = dataclasses.field(default_factory=list)

    def build(self, network):
        layer = nn.Linear(network.hidden_size, 1)
        nn.init.constant_(layer.weight, self.rank)
        self.layers.append(layer)
        return Brightness(layer)


def test_ranks_whose_weights_differ_train_those_of_the_first_and_one_draws_a_bar(
    recipe, tmp_path, capsys
):
    recipe = dataclasses.replace(recipe, steps=2)
    terms, begun = [Unlike(rank=rank) for rank in (0, 1)], []

    def task(ranks):
        run = TrainingRun("digits", recipe, tmp_path, recipe.data.open(), (terms[ranks.rank],))
        run = dataclasses.replace(run, ranks=ranks, progress=True)
        begins = dataclasses.replace(run, on_open=lambda _: begun.append([*tmp_path.iterdir()]))
        return begins.train()

    first, second = on_threads(2, task)
    assert (first.writes, second.writes) == (True, False)
    assert begun == [[]]  # once, and before anything is written
    weights, others = (term.layers[0].weight for term in terms)
    assert weights.equal(others)
    assert not torch.all(weights == 0)
    assert len(bars_of(capsys.readouterr().err)) == 1


def test_ranks_that_see_other_checkpoints_or_data_stop_before_a_step(recipe, tmp_path):
    one = dataclasses.replace(recipe, steps=1)
    train("digits", one, tmp_path / "run", progress=False)

    def task(ranks, names, versions):
        folder, terms = tmp_path / names[ranks.rank], (ReadsBrightness(versions[ranks.rank]),)
        terms = terms if any(versions) else ()
        data = recipe.data.open()
        TrainingRun("digits", recipe, folder, data, terms, ranks=ranks, progress=False).train()

    for names, versions in ((("run", "elsewhere"), (0, 0)), (("new", "new"), (1, 2))):
        ended = on_threads(2, lambda ranks, n=names, v=versions: task(ranks, n, v))
        assert {type(error) for error in ended} == {pf.UserError}, ended
        place = f"checkpoints in .*{names[0]}: name places on a disk that all machines share"
        with pytest.raises(pf.UserError, match=f"ranks see different data, or {place}"):
            raise ended[0]
    assert [path.name for path in checkpoints(tmp_path / "run")] == ["step-00000001"]
    assert not (tmp_path / "elsewhere").exists()
