"""The difficulty head alone is trained: all other weights stay, and cost no backward pass."""

import dataclasses
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

import patch_forcing as pf
from patch_forcing.core.errors import UserError
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.io.run_layout import checkpoint_path, ema_folder
from patch_forcing.models.dit import PatchDiT
from patch_forcing.runs.estimate import estimate
from patch_forcing.runs.named_recipe import NamedRecipe
from patch_forcing.runs.plan import Plan, plan_run
from patch_forcing.runs.state import initial_state
from patch_forcing.runs.step import TrainStep
from patch_forcing.runs.step_weights import half_weights
from patch_forcing.runs.trainer import train
from tests.scripts.kept_activations import WIDER, kept_by_a_step
from tests.support.same_runs import assert_same

LINEAR = ("final_layer.linear.weight", "final_layer.linear.bias")


@pytest.fixture
def head_alone(recipe):
    decay = dataclasses.replace(recipe.optimizer, name="muon", weight_decay=0.1)
    return dataclasses.replace(
        recipe, train_only="difficulty", optimizer=decay, snapshot_every=None
    )


@pytest.fixture
def sit(recipe, tmp_path):
    """A model of the recipe's sizes and classes that predicts no difficulty."""
    state = initial_state(recipe, recipe.data.open(), "cpu")
    config = dataclasses.replace(state.model.config, predict_difficulty=False)
    model = PatchDiT(config, state.model.data_info)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.05)
    model.save(tmp_path / "sit")
    return tmp_path / "sit"


def velocity_rows(tensor, model):
    """Those of the last layer that are not the log-variance's."""
    channels = model.config.in_channels
    return tensor.unflatten(0, (model.config.patch_size**2, channels + 1))[:, :channels]


def test_all_but_the_head_keeps_its_bits(head_alone, sit, tmp_path):
    outcome = train("digits", head_alone, tmp_path / "run", progress=False, init_from=str(sit))
    source = pf.load_model(sit)
    x, t = torch.randn(2, 1, 8, 8), torch.rand(2, source.config.num_patches)
    for folder in (outcome.checkpoint / "model", ema_folder(outcome.checkpoint)):
        model = pf.load_model(folder)
        before = source.state_dict()
        for name, weight in model.state_dict().items():
            if name in LINEAR:
                rows = velocity_rows(weight, model)
                assert rows.flatten(0, 1).equal(before[name])
            else:
                assert weight.equal(before[name]), name
        assert model(x, t).logvar.abs().max() > 0
    optimizer = load_file(outcome.checkpoint / "optimizer.safetensors")
    assert {key.split(".")[1] for key in optimizer} == {"0", "1"}
    assert not (tmp_path / "run/snapshots").exists()


def test_resuming_is_bitwise_and_another_part_is_another_run(head_alone, sit, tmp_path):
    start = {"progress": False, "init_from": str(sit)}
    whole = train("digits", head_alone, tmp_path / "whole", **start)
    train("digits", dataclasses.replace(head_alone, steps=3), tmp_path / "parts", **start)
    shutil.rmtree(sit)
    parts = train("digits", head_alone, tmp_path / "parts", **start)
    assert parts.steps_before == 3
    assert_same(whole.checkpoint, parts.checkpoint)
    everything = dataclasses.replace(head_alone, train_only="all")
    with pytest.raises(UserError, match="trained with train_only='difficulty', now it is 'all'"):
        train("digits", everything, tmp_path / "parts", **start)


@pytest.mark.parametrize("halves", [False, True])
def test_a_step_that_moves_all_at_once_is_the_same(head_alone, halves):
    # on a GPU that is what a compiled step does, in bf16 with copies of weights
    recipe = dataclasses.replace(head_alone, precision="bf16" if halves else "fp32")
    data = recipe.data.open()
    states = [initial_state(recipe, data, "cpu") for _ in range(2)]
    steps = [TrainStep(state, recipe, "cpu") for state in states]
    steps[1]._at_once = True
    if halves:
        steps[1]._halves = half_weights(states[1].model)
    for number in range(3):
        batch = data.batch(BatchSpec(number, recipe.batch_size, recipe.seed))
        results = [step(batch, number) for step in steps]
        torch.testing.assert_close(results[0][1], results[1][1])
    for one, other in zip(*(state.networks().values() for state in states), strict=True):
        for weight, twin in zip(one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(weight, twin, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("again", ["none", "cheap", "all"])
def test_nothing_before_the_last_layer_is_kept_for_a_backward_pass(again):
    recipe = dataclasses.replace(WIDER, train_only="difficulty", recompute_activations=again)
    tokens, width = 16 * 64, recipe.network.hidden_size
    # the last layer's input, its output and the likelihood's few numbers a pixel
    assert kept_by_a_step(recipe, recipe.data.open()) < 4 * tokens * (width + 16)


def test_the_gradient_is_that_of_the_likelihood(recipe):
    data = recipe.data.open()
    norms = {}
    for part in ("all", "difficulty"):
        one = dataclasses.replace(recipe, train_only=part)
        state = initial_state(one, data, "cpu")
        step = TrainStep(state, one, "cpu")
        inputs = step.inputs(data.batch(BatchSpec(0, one.batch_size, one.seed)), 0)
        (inside,) = inputs.parts(1)
        step._loss(state.model, {}, *inside).total.backward()
        rows = state.model.final_layer.linear.weight.grad
        channels = state.model.config.in_channels
        sides = state.model.config.patch_size**2
        norms[part] = rows.unflatten(0, (sides, channels + 1))
    assert norms["difficulty"][:, -1].equal(norms["all"][:, -1])
    assert norms["difficulty"][:, :-1].eq(0).all()
    assert norms["all"][:, :-1].abs().max() > 0


def test_what_it_takes_is_what_was_said(head_alone, sit, tmp_path):
    recipe = dataclasses.replace(head_alone, steps=2)
    takes = estimate(recipe, recipe.data.open(), 1e12)
    model = initial_state(recipe, recipe.data.open(), "cpu").model
    head = model.final_layer.linear.parameters()
    assert takes.trained_parameters == sum(weight.numel() for weight in head)
    plain = dataclasses.replace(recipe, train_only="all", snapshot_every=0)
    whole = estimate(plain, plain.data.open(), 1e12)
    assert takes.hours == pytest.approx(whole.hours / 3)
    assert takes.memory_gib < 0.6 * whole.memory_gib
    assert takes.snapshots_gib == 0
    train("digits", recipe, tmp_path / "run", progress=False, init_from=str(sit))
    files = checkpoint_path(tmp_path / "run", 2).rglob("*.safetensors")
    on_disk = sum(sum(t.nbytes for t in load_file(file).values()) for file in files) / 2**30
    assert takes.checkpoints_gib == pytest.approx(3 * on_disk, rel=0.001)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nll_weight": 0.0}, "nll_weight=0, which is all that teaches the head"),
        ({"parallel": "shard"}, "leave --parallel out"),
        ({"alignment": "emoji"}, "alignment.encoder=emoji, which trains other weights"),
        ({"network": False}, "predict_difficulty=False, the network has no such head"),
    ],
)
def test_what_does_not_go_with_it_is_refused(head_alone, changes, message):
    if "alignment" in changes:
        encoder = dataclasses.replace(head_alone.alignment, encoder=changes["alignment"])
        changes = {"alignment": encoder}
    if "network" in changes:
        plain = dataclasses.replace(head_alone.network, predict_difficulty=False)
        changes = {"network": plain}
    with pytest.raises(UserError, match=message):
        dataclasses.replace(head_alone, **changes)


def test_a_model_to_start_from_is_needed_whose_weights_are_all_of_use(head_alone, sit, tmp_path):
    with pytest.raises(UserError, match="add --init-from MODEL"):
        train("digits", head_alone, tmp_path / "run", progress=False)
    with pytest.raises(UserError, match="add --init-from MODEL"):
        Plan(head_alone, None)
    config = json.loads((sit / "config.json").read_text())
    names = config["data"]["class_names"]
    config["data"]["class_names"] = ["another", *names[1:]]
    (sit / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="1 classes begin anew, and --train-only difficulty"):
        train("digits", head_alone, tmp_path / "run", progress=False, init_from=str(sit))
    (sit / "config.json").write_text(json.dumps(config | {"class": "DiT"}))
    with pytest.raises(UserError, match="a DiT predicts noise, and --train-only difficulty"):
        train("digits", head_alone, tmp_path / "run", progress=False, init_from=str(sit))
    assert not (tmp_path / "run").exists()


def test_a_folder_takes_the_sizes_of_a_model_without_a_head_but_gets_one(sit, tmp_path):
    from patch_forcing.runs.recipes import RECIPES

    named: NamedRecipe = RECIPES["folder"]
    recipe = dataclasses.replace(named.recipe, train_only="difficulty", steps=5)
    plan = plan_run(recipe, named, tmp_path / "run", "cpu", str(sit))
    assert plan.recipe.network.predict_difficulty
    assert plan.recipe.network.hidden_size == pf.load_model(sit).config.hidden_size
