"""The same run on one, two or four ranks, and in parts: the same inputs, losses and weights."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import patch_forcing as pf
from patch_forcing.core.timesteps import TIMESTEPS
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.sources import FolderSource
from patch_forcing.distributed.ranks import Ranks
from patch_forcing.io.run_layout import checkpoint_step, checkpoints
from patch_forcing.runs.state import initial_state
from patch_forcing.runs.step import TrainStep
from patch_forcing.runs.trainer import train
from tests.support.image_files import photos
from tests.support.same_runs import assert_close, assert_same, losses, tensors
from tests.support.several_ranks import Troubled, train_on

LOSSES = {"adamw": 1e-5, "muon": 1e-3}
WEIGHTS = {"adamw": 1e-3, "muon": 0.05}
"""How far ranks and parts may lead apart: losses relatively, weights beside how far they went.

Muon makes orthogonal in bf16, directions in which there is hardly any gradient too.
"""


def parted(recipe, **changes):
    return dataclasses.replace(recipe, deterministic=True, **changes)


def assert_alike(recipe, one, other):
    """The two run folders hold the same run but for the rounding of sums."""
    for (step, loss), (same_step, same) in zip(losses(one), losses(other), strict=True):
        assert step == same_step
        assert same == pytest.approx(loss, rel=LOSSES[recipe.optimizer.name])
    start = initial_state(recipe, recipe.data.open(), "cpu").model.state_dict()
    ours, theirs = tensors(checkpoints(one)[-1]), tensors(checkpoints(other)[-1])
    names = [name for name in ours if name.startswith("model/")]
    apart = sum((ours[name] - theirs[name]).square().sum() for name in names)
    went = sum((ours[name] - start[name.split("/")[-1]]).square().sum() for name in names)
    assert apart.sqrt() < WEIGHTS[recipe.optimizer.name] * went.sqrt()


@pytest.mark.parametrize("timesteps", [*TIMESTEPS, "ltg:levels=4"])
def test_inputs_are_bitwise_those_of_one_rank(recipe, timesteps):
    recipe = dataclasses.replace(recipe, timesteps=timesteps)
    data = recipe.data.open()
    state = initial_state(recipe, data, "cpu")

    def inputs(ranks, step):
        places = ranks.places(recipe.batch_size)
        batch = data.batch(BatchSpec(step, recipe.batch_size, recipe.seed, places))
        return TrainStep(state, recipe, "cpu", ranks).inputs(batch, step)

    for step in (0, 5):
        whole = inputs(Ranks(), step)
        for world in (2, 4):
            parts = [inputs(Ranks(rank, world), step) for rank in range(world)]
            for name, expected in whole._asdict().items():
                result = [getattr(part, name) for part in parts]
                if not isinstance(expected, torch.Tensor):  # no levels, no terms
                    assert set(result) == {expected}
                elif expected.ndim == 0:
                    assert all(one.equal(expected) for one in result)
                else:
                    assert torch.cat(result).equal(expected), name


@pytest.mark.parametrize(
    ("world", "parts", "optimizer"),
    [
        pytest.param(1, 8, "muon", marks=pytest.mark.slow),
        (2, 2, "adamw"),
        pytest.param(1, 8, "adamw", marks=pytest.mark.slow),
        pytest.param(2, 2, "muon", marks=pytest.mark.slow),
        pytest.param(4, 1, "adamw", marks=pytest.mark.slow),
        pytest.param(4, 1, "muon", marks=pytest.mark.slow),
    ],
)
def test_parts_and_ranks_change_no_run_beyond_rounding(recipe, tmp_path, optimizer, world, parts):
    changed = dataclasses.replace(recipe.optimizer, name=optimizer)
    recipe = parted(recipe, optimizer=changed, steps=20, checkpoint_every=20)
    train("digits", recipe, tmp_path / "one", progress=False)
    shared = dataclasses.replace(recipe, accumulate=parts)
    assert train_on(world, shared, tmp_path / "other") == [(0, "")] * world
    assert_alike(recipe, tmp_path / "one", tmp_path / "other")


def test_a_run_goes_on_with_another_number_of_ranks(recipe, tmp_path):
    recipe = parted(recipe, steps=9)
    train("digits", recipe, tmp_path / "whole", progress=False)
    for world, steps in ((2, 3), (1, 6), (2, 9)):
        part = dataclasses.replace(recipe, steps=steps)
        assert train_on(world, part, tmp_path / "parts") == [(0, "")] * world
    assert_alike(recipe, tmp_path / "whole", tmp_path / "parts")


def test_nan_on_one_rank_skips_the_step_on_all(recipe, tmp_path):
    recipe = parted(recipe, data=Troubled(place=6, spoilt=(2, 4)))
    train("digits", recipe, tmp_path / "one", progress=False)
    assert train_on(2, recipe, tmp_path / "two") == [(0, "")] * 2
    lines = (tmp_path / "two" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["failed_steps"] for line in lines] == [0, 0, 1, 1, 2, 2]
    one, two = (tensors(checkpoints(tmp_path / name)[-1]) for name in ("one", "two"))
    assert_close(one, two)


def test_too_many_failed_steps_stop_all_ranks_and_their_samples_are_named(recipe, tmp_path):
    recipe = parted(
        recipe, data=Troubled(place=6, spoilt=(2, 4, 5)), max_failed_steps=2, log_every=6
    )
    ended = train_on(2, recipe, tmp_path / "run")
    assert {status for status, _ in ended} == {2}
    file = tmp_path / "run" / "failed-steps.jsonl"
    for _, message in ended:
        assert "at step 5, the first of 2 in a row that were not finite" in message
        assert message.endswith(f"{file} names the samples of these steps")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    data = recipe.data.open()
    assert [(row["step"], row["loss"]) for row in rows] == [(5, None), (6, None)]
    assert [row["samples"] for row in rows] == [
        data.sample_names(BatchSpec(step, recipe.batch_size, recipe.seed)) for step in (4, 5)
    ]
    assert [checkpoint_step(path) for path in checkpoints(tmp_path / "run")] == [2, 4]


def test_a_signal_to_one_rank_stops_all_with_everything_saved(recipe, tmp_path):
    recipe = parted(recipe, data=Troubled(place=6, signalled=2), checkpoint_every=100)
    ended = train_on(2, recipe, tmp_path / "parts")
    assert ended == [(130, "stopped after step 3, saved; the same command resumes")] * 2
    assert train_on(2, recipe, tmp_path / "parts") == [(0, "")] * 2
    never = dataclasses.replace(recipe, data=Troubled(place=6))
    assert train_on(2, never, tmp_path / "whole") == [(0, "")] * 2
    assert_same(*(checkpoints(tmp_path / name)[-1] for name in ("parts", "whole")))


def test_an_error_on_one_rank_ends_all(recipe, tmp_path):
    recipe = parted(recipe, data=Troubled(place=6, refused=2))
    assert train_on(2, recipe, tmp_path / "run") == [
        (2, "rank 1: the label is gone"),
        (2, "the label is gone"),
    ]


def test_a_rank_that_dies_leaves_none_waiting(recipe, tmp_path):
    recipe = parted(recipe, data=Troubled(place=6, signalled=3, number=signal.SIGKILL))
    (status, message), (died, _) = train_on(2, recipe, tmp_path / "run")
    assert (status, died) == (2, -signal.SIGKILL)
    assert message.startswith("rank 0 of 2 lost the others (")
    assert [checkpoint_step(path) for path in checkpoints(tmp_path / "run")] == [2]


def test_bad_samples_of_all_ranks_are_named_and_counted(recipe, tmp_path):
    root = photos(tmp_path / "mine", {"cat": 20, "owl": 10})
    for number in range(9):
        (root / "cat" / f"{number:03d}.png").write_bytes(b"text")
    recipe = parted(recipe, data=FolderSource(str(root)))
    train("digits", recipe, tmp_path / "one", progress=False)
    assert train_on(2, recipe, tmp_path / "two") == [(0, "")] * 2
    one, two = (tmp_path / name / "bad-samples.jsonl" for name in ("one", "two"))
    assert len(one.read_text().splitlines()) == 9
    assert one.read_text() == two.read_text()
    assert_alike(recipe, tmp_path / "one", tmp_path / "two")


def test_batches_that_do_not_split_are_refused_before_anything_is_written(recipe, tmp_path):
    with pytest.raises(pf.UserError, match="batch_size=8 does not split into accumulate=3"):
        dataclasses.replace(recipe, accumulate=3)
    (status, message), *_ = train_on(2, dataclasses.replace(recipe, accumulate=8), tmp_path / "run")
    assert status == 2
    assert message == (
        "batch_size=8 does not split equally over 2 ranks in accumulate=8 parts each: choose a "
        "multiple of 16"
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_torchrun_trains_and_a_signal_to_one_rank_ends_all_alike(tmp_path):
    """The command of the documentation, and processes that torchrun ends if one of them does."""
    size = ["--network.hidden-size", "16", "--network.depth", "1", "--network.num-heads", "2"]
    command = [Path(sys.executable).with_name("torchrun"), "--nproc-per-node", "2", "--standalone"]
    command += ["-m", "patch_forcing", "train", "digits", *size, "--log-every", "1"]
    process = subprocess.Popen(
        [*command, "--steps", "1000000"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    metrics = tmp_path / "runs" / "digits" / "metrics.jsonl"
    while not metrics.exists() and process.poll() is None:
        time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGTERM)
    _, message = process.communicate(timeout=60)
    assert re.findall(r"exitcode +: (-?\d+)", message) == ["130", "130"], message
    one, other = re.findall("patch-forcing: stopped after step ([0-9]+), saved", message)
    assert one == other == str(checkpoint_step(checkpoints(tmp_path / "runs" / "digits")[-1]))
