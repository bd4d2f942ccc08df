"""A recipe is made again of run.json."""

import json
from dataclasses import replace

import pytest
import torch

import patch_forcing as pf
from patch_forcing.runs.recipes import RECIPES
from patch_forcing.runs.recorded_recipe import recorded_run
from patch_forcing.runs.run_folder import open_run


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_comes_back(name, tmp_path):
    recipe = RECIPES[name].recipe
    open_run(tmp_path, name, recipe, init_from="a model", init={"model": "a model"})
    assert recorded_run(tmp_path) == (name, recipe, "a model")


def test_an_older_run_lacks_fields_that_came_later(recipe, tmp_path):
    open_run(tmp_path, "digits", recipe)
    record = json.loads((tmp_path / "run.json").read_text())
    del record["recipe"]["time_nodes"], record["recipe"]["snapshot_every"]
    (tmp_path / "run.json").write_text(json.dumps(record))
    assert recorded_run(tmp_path).recipe == replace(recipe, time_nodes=0, snapshot_every=0)


def test_what_does_not_fit_is_named(recipe, tmp_path):
    open_run(tmp_path, "digits", recipe)
    record = json.loads((tmp_path / "run.json").read_text())
    record["recipe"]["optimizer"]["momentum"] = 1
    (tmp_path / "run.json").write_text(json.dumps(record))
    with pytest.raises(pf.UserError, match=r"unknown field in .*momentum"):
        recorded_run(tmp_path)


def test_data_from_python_are_not_on_record(recipe, tmp_path):
    items = [(torch.zeros(1, 8, 8), 0), (torch.ones(1, 8, 8), 1)]
    pf.train(replace(recipe, steps=1), items, tmp_path / "run", progress=False)
    with pytest.raises(pf.UserError, match=r"data that Python gave it: the same pf\.train"):
        recorded_run(tmp_path / "run")
