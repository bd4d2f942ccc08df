"""Images held out: their loss beside training's, a warning when they part, and old runs."""

import dataclasses
import json

import pytest
import torch

import patch_forcing as pf
from patch_forcing.core.random import CountedGenerator
from patch_forcing.data.sources import FolderSource
from patch_forcing.runs.held_out import LINES, HeldOut, Parting
from patch_forcing.runs.parts import timestep_sampler
from patch_forcing.runs.recipes import RECIPES
from patch_forcing.runs.state import initial_state
from patch_forcing.runs.trainer import train
from tests.support.image_files import photos
from tests.support.same_runs import assert_same, losses
from tests.support.several_ranks import train_on


@pytest.fixture
def held(recipe, tmp_path):
    """The recipe on 30 images, some of them held out."""
    root = photos(tmp_path / "pets", {"cat": 15, "owl": 15}, size=(8, 8))
    return dataclasses.replace(recipe, data=FolderSource(str(root), size=8, held_out=0.3))


def rows(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_the_loss_is_of_fixed_noise_and_times(held):
    """A fresh network's velocity is 0, so that its loss is the mean square of the target."""
    data, times = held.data.open(), timestep_sampler(held)
    model = initial_state(held, data, "cpu").ema
    result = HeldOut(data, held, torch.device("cpu")).losses(model)
    assert HeldOut(data, held, torch.device("cpu")).losses(model) == result
    for name, examples in zip(("held_out", "seen"), data.examples(64), strict=True):
        counted = CountedGenerator(held.seed, examples.ids).fork("held out")
        x_0 = counted.fork("noise").normal(*data.shape)
        expected = (examples.batch.x_1 - x_0).square().mean()
        assert result[name] == pytest.approx(float(expected), rel=1e-6)
        for weight in model.final_layer.linear.parameters():
            weight.data.normal_(0, 0.1, generator=torch.Generator().manual_seed(0))
    assert times(1, 4).values.shape[0] == 1
    assert HeldOut(data, held, torch.device("cpu")).losses(model) != result


def test_a_resumed_run_goes_on_bitwise_with_the_same_lines(held, tmp_path):
    whole = train("folder", held, tmp_path / "whole", progress=False)
    half = dataclasses.replace(held, steps=3)
    train("folder", half, tmp_path / "parts", progress=False)
    parts = train("folder", held, tmp_path / "parts", progress=False)
    assert_same(whole.checkpoint, parts.checkpoint)
    for ours, theirs in zip(rows(tmp_path / "whole"), rows(tmp_path / "parts"), strict=True):
        assert (ours["held_out"], ours["seen"]) == (theirs["held_out"], theirs["seen"])
        assert ours["held_out"] != ours["seen"]


def test_looking_changes_nothing_of_the_run(held, tmp_path):
    one = train("folder", held, tmp_path / "one", progress=False)
    seldom = dataclasses.replace(held, log_every=100)
    other = train("folder", seldom, tmp_path / "other", progress=False)
    assert_same(one.checkpoint, other.checkpoint)


def usual(held, count, tmp_path):
    """The recipe as `train folder` has it: the share is chosen by the number of images."""
    photos(tmp_path / "pets", {"cat": count // 2, "owl": count // 2}, size=(8, 8))
    return dataclasses.replace(held, data=dataclasses.replace(held.data, held_out=None))


def share_of(run):
    return json.loads((run / "run.json").read_text())["recipe"]["data"]["held_out"]


def test_the_recipe_folder_alone_holds_out_by_itself():
    shares = {name: getattr(row.recipe.data, "held_out", 0.0) for name, row in RECIPES.items()}
    assert [name for name, share in shares.items() if share != 0] == ["folder"]


def test_the_share_is_recorded_and_a_run_keeps_it(held, tmp_path):
    recipe = usual(held, 100, tmp_path)
    half = dataclasses.replace(recipe, steps=3)
    train("folder", half, tmp_path / "run", progress=False)
    assert share_of(tmp_path / "run") == 0.1
    train("folder", recipe, tmp_path / "run", progress=False)
    assert all("held_out" in row for row in rows(tmp_path / "run"))
    chosen = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, held_out=0.2))
    with pytest.raises(pf.UserError, match=r"trained with data\.held_out=0\.1, now it is 0\.2"):
        train("folder", chosen, tmp_path / "run", progress=False)


def test_a_run_that_began_without_goes_on_with_all_of_its_images(held, tmp_path):
    recipe = usual(held, 100, tmp_path)
    none = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, held_out=0.0))
    whole = train("folder", none, tmp_path / "whole", progress=False)
    train("folder", dataclasses.replace(none, steps=3), tmp_path / "run", progress=False)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    del record["recipe"]["data"]["held_out"], record["recipe"]["data"]["depth"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    parts = train("folder", recipe, tmp_path / "run", progress=False)
    assert_same(whole.checkpoint, parts.checkpoint)
    assert share_of(tmp_path / "run") == 0
    assert all("held_out" not in row for row in rows(tmp_path / "run"))


def parted(*pairs):
    lines = [{"step": step, "held_out": h, "seen": s} for step, (h, s) in enumerate(pairs, 1)]
    check = Parting()
    return [line["step"] for line in lines if check.record(line["step"], line)], lines


DOWN = [(0.5, 0.5), (0.4, 0.4)]
CASES = {
    "apart": ([*DOWN, *[(0.43, 0.3)] * 9], [2 + LINES]),
    "hardly": ([*DOWN, *[(0.41, 0.3)] * 9], []),
    "both rise": ([*DOWN, *[(0.6, 0.6)] * 9], []),
    "not for long": ([*DOWN, *[(0.43, 0.3), (0.43, 0.3), (0.39, 0.3)] * 4], []),
    "lost": ([*DOWN, *[(float("nan"), 0.3)] * 9], []),
    "none": ([], []),
}


@pytest.mark.parametrize("case", CASES)
def test_losses_that_part_are_said_to_once(case):
    pairs, expected = CASES[case]
    assert parted(*pairs)[0] == expected


def test_the_warning_names_the_lowest_and_what_to_do_and_a_resumed_run_knows_of_it():
    _, lines = parted(*CASES["apart"][0])
    check = Parting(lines[:6])
    assert check.record(7, lines[6]) == (
        "the loss of images held out rose to 0.43 from 0.4 at step 2, while that of images seen "
        "fell from 0.4 to 0.3: the network learns its images by heart: take the checkpoint "
        "nearest to step 2, give more images, or choose a smaller --network.hidden-size"
    )
    assert Parting(lines[:7]).record(8, lines[7]) is None
    assert Parting([{"step": 1, "held_out": None}, {"step": "x"}]).record(2, {}) is None


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["replicate", "shard"])
def test_losses_are_those_of_one_rank(held, tmp_path, parallel):
    many = dataclasses.replace(held, parallel=parallel)
    assert {status for status, _ in train_on(2, many, tmp_path / "many")} == {0}
    train_on(1, held, tmp_path / "one")
    for ours, theirs in zip(rows(tmp_path / "one"), rows(tmp_path / "many"), strict=True):
        for name in ("held_out", "seen"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4)
    assert len(losses(tmp_path / "one")) == 6
