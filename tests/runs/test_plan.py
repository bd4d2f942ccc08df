"""What a run becomes where the user leaves it open."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from patch_forcing.core.errors import UserError
from patch_forcing.data.sources import FolderSource
from patch_forcing.generation.find import find_model
from patch_forcing.models.folder import read_config
from patch_forcing.runs.plan import (
    USUAL_MINUTES,
    USUAL_START,
    WARM_START,
    Plan,
    plan_run,
    steps_in_words,
)
from patch_forcing.runs.recipe import SCRATCH, Network
from patch_forcing.runs.recipes import RECIPES
from patch_forcing.runs.trainer import train

NAMED = RECIPES["folder"]
FOLDER = NAMED.recipe
SIZES = read_config(find_model(USUAL_START)).sizes


@pytest.fixture
def images(tmp_path):
    """Two classes of three colour images, 32 pixels wide."""
    noise = np.random.default_rng(0)
    for name in ("ships", "trees"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(3):
            pixels = noise.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{number}.png")
    return tmp_path / "data"


def recipe_of(images, **changes):
    return replace(FOLDER, data=FolderSource(path=str(images), held_out=0.0), **changes)


def test_without_a_gpu_a_run_starts_from_the_bundled_model(images, tmp_path):
    usual = replace(NAMED, recipe=replace(FOLDER, batch_size=1))
    sentences = []
    plan = plan_run(
        recipe_of(images, batch_size=1), usual, tmp_path / "run", "cpu", say=sentences.append
    )
    network, data = plan.recipe.network, plan.recipe.data
    assert plan.init_from == USUAL_START
    assert (network.hidden_size, network.depth) == (SIZES["hidden_size"], SIZES["depth"])
    assert (network.patch_size, network.num_heads) == (SIZES["patch_size"], SIZES["num_heads"])
    assert (data.size, data.size) == tuple(SIZES["input_size"])
    assert data.channels == 3
    assert plan.recipe.optimizer == WARM_START["optimizer"]
    assert plan.recipe.recommended == WARM_START["recommended"] != FOLDER.recommended
    assert USUAL_START in sentences[0]
    assert sentences[1] == "timing a few steps, to see how many fit into 20 minutes ..."
    assert f"fit into {USUAL_MINUTES:g} minutes" in sentences[2]


@pytest.mark.parametrize(
    "changes",
    [
        {"network": replace(FOLDER.network, depth=2)},
        {"data": {"size": 32}},
        {"data": {"channels": 1}},
    ],
)
def test_it_starts_from_nothing_where_the_user_chose_otherwise(images, tmp_path, changes):
    given = recipe_of(images, steps=7)
    data = replace(given.data, **changes.pop("data", {}))
    given = replace(given, data=data, **changes)
    plan = plan_run(given, NAMED, tmp_path / "run", "cpu")
    assert plan == Plan(given, None)


def test_scratch_is_a_choice(images, tmp_path):
    given = recipe_of(images, steps=7)
    plan = plan_run(given, NAMED, tmp_path / "run", "cpu", SCRATCH)
    assert (plan.recipe, plan.init_from) == (given, None)


def test_on_a_gpu_nothing_is_chosen_unless_a_model_is_named(images, tmp_path):
    given = recipe_of(images)
    assert plan_run(given, NAMED, tmp_path / "run", "cuda").recipe == given
    started = plan_run(given, NAMED, tmp_path / "run", "cuda", USUAL_START)
    assert started.recipe.network.depth == SIZES["depth"]
    assert started.recipe.steps == FOLDER.steps


def test_what_the_user_gave_is_kept_beside_the_model_named(images, tmp_path):
    given = recipe_of(images, steps=7, ema_decay=0.5, network=replace(FOLDER.network, depth=3))
    plan = plan_run(given, NAMED, tmp_path / "run", "cpu", USUAL_START)
    assert plan.recipe.network.depth == 3  # which init_weights refuses, naming both
    assert plan.recipe.ema_decay == 0.5


def test_minutes_become_steps(images, tmp_path):
    network = Network(patch_size=8, hidden_size=16, depth=1, num_heads=2)
    usual = replace(NAMED, recipe=replace(FOLDER, batch_size=2, network=network))
    given = recipe_of(images, batch_size=2, network=network)
    sentences = []
    how = (given, usual, tmp_path / "run", "cpu", SCRATCH)
    few = plan_run(*how, minutes=1e-9, say=sentences.append)
    many = plan_run(*how, minutes=1e9, say=sentences.append)
    assert few.recipe.steps == 20
    assert many.recipe.steps == 1_000_000
    assert few.recipe.checkpoint_every == few.recipe.sample_every
    assert sentences[1].startswith("20 steps of ")
    assert "more than fit into 1e-09 minutes, and the fewest planned" in sentences[1]
    assert "fit into 1e+09 minutes" in sentences[3]
    assert 0 < few.seconds < many.seconds <= 60e9


def test_minutes_and_seconds_are_told_as_people_write_them():
    one = steps_in_words(40, 1.13, 57.6, 1)
    assert one.startswith("40 steps of 1.1 s, 58 s with all that belongs to them, fit into 1 minut")
    assert "fit into 1 minute: --minutes or --steps change that" in one
    more = steps_in_words(20, 6.2, 131.0, 0.5)
    assert more.startswith("20 steps of 6.2 s, 2 min with all")
    assert "more than fit into 0.5 minutes, and the fewest planned: --steps sets fewer" in more


def test_steps_and_minutes_contradict_each_other(images, tmp_path):
    with pytest.raises(UserError, match="--minutes 3 with --steps 7: leave one of the two out"):
        plan_run(recipe_of(images, steps=7), NAMED, tmp_path, "cpu", minutes=3)
    with pytest.raises(UserError, match="--minutes"):
        plan_run(recipe_of(images), NAMED, tmp_path, "cpu", minutes=0)


def test_a_run_that_goes_on_stays_as_it_was_begun(images, tmp_path):
    network = Network(patch_size=8, hidden_size=16, depth=1, num_heads=2)
    usual = replace(NAMED, recipe=replace(FOLDER, batch_size=2, log_every=1))
    given = recipe_of(images, batch_size=2, log_every=1)
    begun = replace(
        given,
        network=network,
        steps=3,
        data=replace(given.data, size=16, channels=3),
        recommended=WARM_START["recommended"],
    )
    train("folder", begun, tmp_path / "run", progress=False)
    plan = plan_run(given, usual, tmp_path / "run", "cpu", minutes=5)
    assert plan.recipe == begun
    assert (plan.init_from, plan.seconds) == (None, None)
    longer = plan_run(replace(given, steps=4), usual, tmp_path / "run", "cpu")
    outcome = train("folder", longer.recipe, tmp_path / "run", progress=False)
    assert (outcome.steps_before, outcome.steps) == (3, 4)


def test_recipes_of_fixed_data_take_minutes_alone(recipe, tmp_path):
    named = replace(RECIPES["digits"], recipe=recipe)
    assert plan_run(recipe, named, tmp_path / "run", "cpu").recipe is recipe
    plan = plan_run(recipe, named, tmp_path / "run", "cpu", minutes=1e-9)
    assert plan.recipe.sample_every == recipe.sample_every == 0
    assert plan.recipe.steps == 20
    assert plan.init_from is None


def test_several_processes_choose_nothing_that_is_measured(images, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    given = recipe_of(images)
    plan = plan_run(given, NAMED, tmp_path / "run", "cpu")
    assert plan == Plan(given, None)
    with pytest.raises(UserError, match="--minutes 3 with several processes: give --steps"):
        plan_run(given, NAMED, tmp_path / "run", "cpu", minutes=3)


@pytest.mark.gpu
def test_compiled_steps_on_a_gpu_are_timed_where_they_are_recorded(recipe, tmp_path):
    compiled = replace(recipe, compile=True, precision="bf16")
    named = replace(RECIPES["digits"], recipe=compiled)
    plan = plan_run(compiled, named, tmp_path / "run", "cuda", minutes=0.1)
    assert plan.recipe.steps > 20
