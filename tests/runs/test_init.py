"""Training that starts from another model."""

import dataclasses
import json
import shutil

import pytest
import torch

import patch_forcing as pf
from patch_forcing.generation.find import find_model
from patch_forcing.io.model_layout import folder_hash
from patch_forcing.io.run_layout import ema_folder
from patch_forcing.runs.state import initial_state
from patch_forcing.runs.trainer import train
from tests.support.same_runs import assert_same


@pytest.fixture
def sit(recipe, tmp_path):
    """A model of the recipe's sizes that predicts no difficulty."""
    state = initial_state(recipe, recipe.data.open(), "cpu")
    config = dataclasses.replace(state.model.config, predict_difficulty=False)
    model = pf.PatchDiT(config, state.model.data_info)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.05)
    model.save(tmp_path / "sit")
    return tmp_path / "sit"


def test_weights_and_average_start_there(recipe, sit, tmp_path):
    slow = dataclasses.replace(recipe.optimizer, lr=1e-12)
    recipe = dataclasses.replace(recipe, steps=1, optimizer=slow)
    outcome = train("digits", recipe, tmp_path / "run", progress=False, init_from=str(sit))
    source = pf.load_model(sit)
    x, t = torch.randn(2, 1, 8, 8), torch.rand(2, source.config.num_patches)
    for folder in (outcome.checkpoint / "model", ema_folder(outcome.checkpoint)):
        output = pf.load_model(folder)(x, t)
        torch.testing.assert_close(output.velocity, source(x, t).velocity, rtol=1e-4, atol=1e-5)
    record = json.loads((tmp_path / "run/run.json").read_text())["init_from"]
    assert record["model"] == str(sit)
    assert record["hash"] == folder_hash(sit)
    assert "velocity kept" in record["summary"]


def test_resuming_does_not_need_the_model_and_is_bitwise(recipe, sit, tmp_path):
    start = {"progress": False, "init_from": str(sit)}
    whole = train("digits", recipe, tmp_path / "whole", **start)
    train("digits", dataclasses.replace(recipe, steps=3), tmp_path / "parts", **start)
    before = json.loads((tmp_path / "parts/run.json").read_text())["init_from"]
    shutil.rmtree(sit)
    parts = train("digits", recipe, tmp_path / "parts", **start)
    assert parts.steps_before == 3
    assert_same(whole.checkpoint, parts.checkpoint)
    assert json.loads((tmp_path / "parts/run.json").read_text())["init_from"] == before


def test_a_run_keeps_to_its_start(recipe, sit, tmp_path):
    one = dataclasses.replace(recipe, steps=1)
    train("digits", one, tmp_path / "warm", progress=False, init_from=str(sit))
    train("digits", one, tmp_path / "cold", progress=False)
    with pytest.raises(pf.UserError, match=f"began with --init-from {sit}, now it is None"):
        train("digits", recipe, tmp_path / "warm", progress=False)
    with pytest.raises(pf.UserError, match="began with --init-from None"):
        train("digits", recipe, tmp_path / "cold", progress=False, init_from=str(sit))


def test_a_model_that_does_not_fit_writes_nothing(recipe, sit, tmp_path):
    wide = dataclasses.replace(recipe.network, hidden_size=48)
    wide = dataclasses.replace(recipe, network=wide)
    with pytest.raises(pf.UserError, match=f"--init-from {sit}: it has hidden_size"):
        train("digits", wide, tmp_path / "run", progress=False, init_from=str(sit))
    with pytest.raises(pf.UserError, match="unknown model"):
        train("digits", recipe, tmp_path / "run", progress=False, init_from="nowhere")
    assert not (tmp_path / "run").exists()


def test_a_run_is_a_start_for_another(recipe, tmp_path):
    one = dataclasses.replace(recipe, steps=1)
    train("digits", one, tmp_path / "first", progress=False)
    train("digits", one, tmp_path / "next", progress=False, init_from=str(tmp_path / "first"))
    record = json.loads((tmp_path / "next/run.json").read_text())["init_from"]
    assert record["hash"] == folder_hash(find_model(tmp_path / "first"))
