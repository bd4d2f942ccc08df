"""A model of which each rank holds its rows: the run of whole models, for any number of ranks."""

import dataclasses
import json
import signal

import pytest
import torch

import patch_forcing as pf
from patch_forcing.distributed.sharded_checkpoint import read_shards, stored_sizes
from patch_forcing.io.atomic import broken_file
from patch_forcing.io.run_layout import checkpoint_step, checkpoints, ema_folder
from tests.support.same_runs import assert_close, losses, tensors
from tests.support.several_ranks import Troubled, train_on


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
