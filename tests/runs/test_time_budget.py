"""What fits into a time, by costs that are given: no test reads a clock."""

from dataclasses import replace

import pytest
import torch

from patch_forcing.data.sources import FolderSource
from patch_forcing.runs.held_out import HeldOut
from patch_forcing.runs.recipes import RECIPES
from patch_forcing.runs.time_budget import (
    MAX_LINES,
    MAX_SHEETS,
    MAX_STEPS,
    MIN_LINES,
    MIN_STEPS,
    SHARE,
    Costs,
    costs,
    fitting,
)
from tests.support.image_files import photos

USUAL = RECIPES["folder"].recipe
LAPTOP = Costs(step=1.1, line=2.0, sheet=5.0, early_sheet=0.6, save=1.0, set_up=3.0)
"""About those of the bundled model on two cores, with ten classes and images held out."""


@pytest.mark.parametrize("seconds", [50, 110, 290, 1190, 86_000])
def test_a_run_takes_the_seconds_given_and_not_more(seconds):
    recipe = fitting(USUAL, USUAL, seconds, LAPTOP)
    assert 0.9 * seconds < LAPTOP.of_run(recipe) <= seconds


@pytest.mark.parametrize("seconds", [50, 110, 290, 1190, 86_000])
def test_lines_and_sheets_take_their_share_or_are_the_fewest(seconds):
    recipe = fitting(USUAL, USUAL, seconds, LAPTOP)
    lines = recipe.steps // recipe.log_every
    sheets = -(-recipe.steps // recipe.sample_every)
    trained = LAPTOP.step * recipe.steps
    assert lines >= MIN_LINES
    assert lines * LAPTOP.line <= SHARE * trained or lines in (MIN_LINES, MIN_LINES + 1)
    assert sheets * (LAPTOP.sheet + LAPTOP.save) <= SHARE * trained or sheets == 1
    assert sheets <= MAX_SHEETS
    assert lines <= MAX_LINES + 1 or recipe.log_every == USUAL.log_every
    assert recipe.checkpoint_every == recipe.sample_every


def test_costs_are_added_up():
    recipe = replace(USUAL, steps=10, log_every=4, sample_every=3, checkpoint_every=5)
    assert LAPTOP.of_run(recipe) == pytest.approx(3 + 10 * 1.1 + 2 * 2 + 4 * 5 + 0.6 + 2 * 1)
    without = replace(recipe, sample_every=0)
    assert LAPTOP.of_run(without) == pytest.approx(3 + 10 * 1.1 + 2 * 2 + 2 * 1)


def test_intervals_that_users_chose_are_kept_and_paid_for():
    given = replace(USUAL, log_every=1, sample_every=0)
    recipe = fitting(given, USUAL, 120, LAPTOP)
    assert (recipe.log_every, recipe.sample_every) == (1, 0)
    assert LAPTOP.of_run(recipe) <= 120
    assert recipe.steps < fitting(USUAL, USUAL, 120, LAPTOP).steps


def test_a_recipe_that_draws_nothing_still_draws_nothing():
    usual = replace(USUAL, sample_every=0)
    assert fitting(usual, usual, 60, LAPTOP).sample_every == 0


def test_there_is_a_fewest_and_a_most():
    assert fitting(USUAL, USUAL, -5, LAPTOP).steps == MIN_STEPS
    assert fitting(USUAL, USUAL, 1e12, LAPTOP).steps == MAX_STEPS


def test_a_line_costs_the_images_that_it_looks_at(tmp_path):
    photos(tmp_path, {"cat": 60, "owl": 60})
    recipe = replace(USUAL, data=FolderSource(str(tmp_path), held_out=None), batch_size=32)
    data = recipe.data.open()
    looked_at = HeldOut(data, recipe, torch.device("cpu")).count
    of_run = costs(recipe, data, 1.0, 2.0)
    assert 64 < looked_at <= 128
    assert of_run.line == pytest.approx(0.4 * (32 + looked_at) / 32)
    assert of_run.sheet == pytest.approx(0.4 * 2 * 48 / 32)  # one image of each class
    assert of_run.early_sheet < of_run.sheet
    assert (of_run.step, of_run.set_up) == (1.0, 2.0)
    assert of_run.save > of_run.snapshots / 16 > 0
    assert costs(replace(recipe, snapshot_every=0), data, 1.0).snapshots == 0
