"""Steps that fail after a run went on are named by their own numbers, with their samples."""

import dataclasses
import json

import pytest

from patch_forcing.core.errors import UserError
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.io.run_layout import checkpoint_step, checkpoints
from patch_forcing.runs.trainer import train
from tests.support.several_ranks import Troubled


def test_failed_steps_of_a_run_that_went_on_are_named_with_their_samples(recipe, tmp_path):
    trouble = Troubled(place=6, spoilt=(1, 4, 5))
    recipe = dataclasses.replace(recipe, data=trouble, max_failed_steps=2)
    half = dataclasses.replace(recipe, steps=3)
    assert train("digits", half, tmp_path / "run", progress=False).steps == 3
    with pytest.raises(UserError, match=r"at step 5, the first of 2 in a row that were not"):
        train("digits", recipe, tmp_path / "run", progress=False)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["failed_steps"] for line in lines] == [0, 1, 1, 1, 2]
    lines = (tmp_path / "run" / "failed-steps.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    data = trouble.open()
    assert [(row["step"], row["loss"]) for row in rows] == [(5, None), (6, None)]
    assert [row["samples"] for row in rows] == [
        data.sample_names(BatchSpec(step, recipe.batch_size, recipe.seed)) for step in (4, 5)
    ]
    assert checkpoint_step(checkpoints(tmp_path / "run")[-1]) == 4
