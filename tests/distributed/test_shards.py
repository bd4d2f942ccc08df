"""A model of which each rank holds its rows: the run of whole models, for any number of ranks."""

import dataclasses
import json
import signal

import pytest
import torch
import torch.distributed as dist
from torch import nn

import patch_forcing as pf
from patch_forcing.distributed.sharded_checkpoint import read_shards, stored_sizes
from patch_forcing.distributed.shards import own_part, rank_mesh, shard_
from patch_forcing.io.atomic import broken_file
from patch_forcing.io.run_layout import checkpoint_path, checkpoint_step, checkpoints, ema_folder
from patch_forcing.runs.checkpoint import load_checkpoint, save_checkpoint
from patch_forcing.runs.state import initial_state
from patch_forcing.training.optim import build_optimizers
from tests.support.same_runs import assert_close, losses, tensors
from tests.support.several_ranks import Troubled, train_on
from tests.support.threads import on_threads


@pytest.fixture(autouse=True)
def plain_again():
    yield
    torch.use_deterministic_algorithms(False)


def parted(recipe, **changes):
    return dataclasses.replace(recipe, deterministic=True, **changes)


def sharded(recipe, **changes):
    return parted(recipe, parallel="shard", **changes)


def test_the_same_run_as_whole_models_and_on_any_number_of_ranks(recipe, tmp_path):
    """Whole → sharded → one rank → sharded; losses, weights, and the average to sample from."""
    recipe = parted(recipe, steps=8)
    assert train_on(2, recipe, tmp_path / "whole") == [(0, "")] * 2
    kinds = []
    for world, steps, parallel in (
        (2, 2, "replicate"),
        (2, 4, "shard"),
        (1, 6, "shard"),
        (2, 8, "shard"),
    ):
        part = dataclasses.replace(recipe, steps=steps, parallel=parallel)
        assert train_on(world, part, tmp_path / "parts") == [(0, "")] * world
        newest = checkpoints(tmp_path / "parts")[-1]
        assert broken_file(newest) is None
        kinds.append((newest / "optimizer.safetensors").exists())
    assert kinds == [True, False, True, False]
    for (step, loss), (same_step, same) in zip(
        losses(tmp_path / "whole"), losses(tmp_path / "parts"), strict=True
    ):
        assert step == same_step
        assert same == pytest.approx(loss, rel=1e-5)
    ours, theirs = (
        pf.load_model(ema_folder(checkpoints(tmp_path / name)[-1])).state_dict()
        for name in ("whole", "parts")
    )
    assert_close(ours, theirs)


@pytest.fixture
def group():
    """Of this process alone."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def sharded_state(recipe, value):
    """Rows of a model and its averages, all weights of one value, after a step of rate 0."""
    state = initial_state(recipe, recipe.data.open(), "cpu")
    for network in state.networks().values():
        nn.init.constant_(network.final_layer.linear.bias, value)
        shard_(network, rank_mesh(torch.device("cpu")))
    parts = [own_part(weight) for weight in state.model.parameters()]
    for part in parts:
        part.grad = torch.full_like(part, value)
    optimizers = build_optimizers(recipe.optimizer, parts, [])
    optimizers[0].step()
    return state._replace(optimizers=optimizers)


def numbers(state):
    """All that a checkpoint holds."""
    moments = [kept["exp_avg"] for kept in state.optimizers[0].state.values()]
    networks = [weight.full_tensor() for one in state.networks().values() for weight in
                one.state_dict().values()]  # fmt: skip
    return torch.cat([tensor.flatten() for tensor in (*networks, *moments)])


@pytest.mark.usefixtures("group")
def test_a_sharded_checkpoint_takes_the_place_of_a_damaged_one_and_is_loaded(recipe, tmp_path):
    one, other = sharded_state(recipe, 1.0), sharded_state(recipe, 2.0)
    assert not numbers(one).equal(numbers(other))

    def task(ranks):
        first = save_checkpoint(tmp_path, 2, other, ranks)
        (first / "model" / "config.json").unlink()
        return save_checkpoint(tmp_path, 2, one, ranks)

    (path,) = on_threads(1, task)
    assert path == checkpoints(tmp_path)[0]
    assert broken_file(path) is None
    assert load_checkpoint(path, other) == 2
    assert numbers(one).equal(numbers(other))
    assert not list(path.parent.glob(".*"))
    whole = initial_state(recipe, recipe.data.open(), "cpu")
    assert load_checkpoint(path, whole) == 2
    assert whole.model.final_layer.linear.bias.equal(
        one.model.final_layer.linear.bias.full_tensor()
    )
    pf.load_model(ema_folder(path))
    checkpoint_path(tmp_path, 4).write_text("in the way")
    states = (one, other)
    ended = on_threads(2, lambda ranks: save_checkpoint(tmp_path, 4, states[ranks.rank], ranks))
    assert [isinstance(error, OSError) for error in ended] == [True, True]


def together(checkpoint):
    """The tensors of all ranks' files."""
    result = {}
    for folder in (checkpoint / "model", checkpoint / "optimizer", ema_folder(checkpoint)):
        targets = {name: torch.zeros(like.shape) for name, like in stored_sizes(folder).items()}
        read_shards(folder, targets)
        result |= {f"{folder.name}/{name}": tensor for name, tensor in targets.items()}
    return result


SETTINGS = {
    "bf16, in parts, recomputed": {
        "precision": "bf16",
        "accumulate": 2,
        "recompute_activations": "all",
    },
    "muon": {"optimizer": "muon"},
    "compiled": {"compile": True, "depth": 9},  # which share a graph
}


@pytest.mark.slow
@pytest.mark.parametrize("changes", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("world", [2, 3])
def test_every_setting_gives_the_run_of_whole_models(recipe, tmp_path, changes, world):
    """Three ranks cut no weight evenly, and the smallest leave one with nothing."""
    changes = {"batch_size": 12, **changes}
    depth = changes.pop("depth", recipe.network.depth)
    changes["network"] = dataclasses.replace(recipe.network, depth=depth)
    if "optimizer" in changes:
        changes["optimizer"] = dataclasses.replace(recipe.optimizer, name="muon")
    recipe = parted(recipe, **changes)
    assert train_on(world, recipe, tmp_path / "whole") == [(0, "")] * world
    assert train_on(world, sharded(recipe), tmp_path / "parts") == [(0, "")] * world
    rel = 1e-5 if recipe.precision == "fp32" and recipe.optimizer.name == "adamw" else 5e-3
    whole, parts = losses(tmp_path / "whole"), losses(tmp_path / "parts")
    assert [loss for _, loss in parts] == pytest.approx([loss for _, loss in whole], rel=rel)
    one = dataclasses.replace(recipe, steps=recipe.steps + 2)
    assert train_on(1, sharded(one), tmp_path / "parts", apart=True) == [(0, "")]
    assert checkpoint_step(checkpoints(tmp_path / "parts")[-1]) == one.steps


@pytest.mark.slow
def test_a_resumed_sharded_run_is_bitwise_the_one_that_never_stopped(recipe, tmp_path):
    recipe = sharded(recipe)
    assert train_on(2, recipe, tmp_path / "whole") == [(0, "")] * 2
    for steps in (3, 6):
        part = dataclasses.replace(recipe, steps=steps)
        assert train_on(2, part, tmp_path / "parts") == [(0, "")] * 2
    whole, parts = (together(checkpoints(tmp_path / name)[-1]) for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(whole[name].equal(parts[name]) for name in whole)
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")


@pytest.mark.slow
def test_nan_on_one_rank_skips_the_step_of_all_rows(recipe, tmp_path):
    recipe = parted(recipe, data=Troubled(place=6, spoilt=(2, 4)))
    assert train_on(2, recipe, tmp_path / "one") == [(0, "")] * 2
    assert train_on(2, sharded(recipe), tmp_path / "two") == [(0, "")] * 2
    lines = (tmp_path / "two" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["failed_steps"] for line in lines] == [0, 0, 1, 1, 2, 2]
    one, two = (tensors(ema_folder(checkpoints(tmp_path / name)[-1])) for name in ("one", "two"))
    assert_close(one, two)


@pytest.mark.slow
def test_a_signal_a_mistake_or_a_death_on_one_rank_ends_all_with_the_documented_status(
    recipe, tmp_path
):
    recipe = sharded(recipe, checkpoint_every=100)
    stopped = dataclasses.replace(recipe, data=Troubled(place=6, signalled=2))
    message = "stopped after step 3, saved; the same command resumes"
    assert train_on(2, stopped, tmp_path / "stopped") == [(130, message)] * 2
    assert checkpoint_step(checkpoints(tmp_path / "stopped")[-1]) == 3
    refused = dataclasses.replace(recipe, data=Troubled(place=6, refused=2))
    assert train_on(2, refused, tmp_path / "refused") == [
        (2, "rank 1: the label is gone"),
        (2, "the label is gone"),
    ]
    killed = Troubled(place=6, signalled=3, number=signal.SIGKILL)
    killed = dataclasses.replace(recipe, data=killed)
    (status, message), (died, _) = train_on(2, killed, tmp_path / "killed")
    assert (status, died) == (2, -signal.SIGKILL)
    assert "lost the others" in message


@pytest.mark.slow
def test_a_rank_that_dies_while_others_wait_for_its_rows_leaves_none_waiting(recipe, tmp_path):
    (status, message), (died, _) = train_on(
        2, sharded(recipe, data=Troubled(place=6, dies=3)), tmp_path / "run"
    )
    assert (status, died) == (2, 9)
    assert "lost the others" in message
    assert "; rank 1 was last seen " in message
    assert broken_file(checkpoints(tmp_path / "run")[-1]) is None
