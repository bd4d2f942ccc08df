"""Terms that are handed in: logged, trained, saved and resumed without the run knowing them."""

import dataclasses
import json
from dataclasses import dataclass

import pytest
from safetensors.torch import load_file
from torch import nn

import patch_forcing as pf
from patch_forcing.distributed.ranks import Ranks
from patch_forcing.runs.run import TrainingRun
from patch_forcing.runs.state import initial_state
from patch_forcing.runs.terms import RunTerm, open_terms
from patch_forcing.training.options import AlignmentConfig
from patch_forcing.training.terms import Term
from tests.support.same_runs import assert_same, losses


@dataclass(frozen=True)
class Brightness:
    """A term: one linear layer reads an image's mean brightness off its tokens."""

    layer: nn.Linear
    name = "brightness"
    weight = 0.25
    block = 1

    @property
    def modules(self):
        return {"reader": self.layer}

    def __call__(self, tokens, inputs):
        return (self.layer(tokens.float()).mean((1, 2)) - inputs).square().mean()


@dataclass(frozen=True)
class ReadsBrightness:
    """What a run needs of it."""

    version: int = 1

    @property
    def record(self):
        return {"brightness": self.version}

    def build(self, network):
        return Brightness(nn.Linear(network.hidden_size, 1))

    def inputs(self, batch, step):
        return batch.x_1.mean((1, 2, 3))


def run_of(recipe, folder, terms=(ReadsBrightness(),)):
    return TrainingRun("digits", recipe, folder, recipe.data.open(), terms, progress=False)


def test_it_is_a_term():
    assert isinstance(ReadsBrightness(), RunTerm)
    assert isinstance(Brightness(nn.Linear(2, 1)), Term)


def test_a_term_is_logged_trained_and_resumed_bit_for_bit(recipe, tmp_path):
    whole = run_of(recipe, tmp_path / "whole").train()
    run_of(dataclasses.replace(recipe, steps=3), tmp_path / "parts").train()
    parts = run_of(recipe, tmp_path / "parts").train()
    assert parts.steps_before == 3
    assert_same(whole.checkpoint, parts.checkpoint)
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")
    rows = [
        json.loads(line) for line in (tmp_path / "whole/metrics.jsonl").read_text().split("\n")[:-1]
    ]
    for row in rows:
        assert [*row][:5] == ["step", "total", "velocity", "nll", "brightness"]
        expected = row["velocity"] + 0.01 * row["nll"] + 0.25 * row["brightness"]
        assert row["total"] == pytest.approx(expected, rel=1e-5)
    state = initial_state(recipe, recipe.data.open(), "cpu", [ReadsBrightness()])
    start = state.term_modules()["reader"].state_dict()
    trained = load_file(whole.checkpoint / "reader.safetensors")
    assert trained.keys() == start.keys()
    assert not any(trained[name].equal(start[name]) for name in start)


def test_a_run_goes_on_with_the_same_term_only(recipe, tmp_path):
    run_of(dataclasses.replace(recipe, steps=2), tmp_path / "run").train()
    with pytest.raises(pf.UserError, match="brightness was 1, now it is 2"):
        run_of(recipe, tmp_path / "run", (ReadsBrightness(2),)).train()


def test_several_terms_look_side_by_side(recipe, tmp_path):
    network = dataclasses.replace(recipe.network, depth=2)
    alignment = AlignmentConfig("emoji", projector_dim=8)
    recipe = dataclasses.replace(recipe, network=network, alignment=alignment, accumulate=2)
    named = open_terms(recipe, recipe.data.open(), "cpu", Ranks())
    outcome = run_of(recipe, tmp_path / "run", (*named, ReadsBrightness())).train()
    rows = [
        json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().split("\n")[:-1]
    ]
    assert all({"alignment", "brightness"} <= row.keys() for row in rows)
    files = {file.stem for file in outcome.checkpoint.glob("*.safetensors")}
    assert files == {"optimizer", "projector", "reader"}


def test_terms_of_sharded_models_are_refused(recipe):
    recipe = dataclasses.replace(recipe, parallel="shard")
    with pytest.raises(pf.UserError, match="parallel=shard with terms"):
        initial_state(recipe, recipe.data.open(), "cpu", [ReadsBrightness()], ranks=Ranks(0, 2))


def test_a_batch_that_the_ranks_cannot_share_is_refused(recipe, tmp_path):
    recipe = dataclasses.replace(recipe, accumulate=2)
    with pytest.raises(pf.UserError, match=r"equally over 3 ranks .* choose a multiple of 6$"):
        TrainingRun("digits", recipe, tmp_path, recipe.data.open(), ranks=Ranks(0, 3))
