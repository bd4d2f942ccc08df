"""Averages made after training, against the same kept while training; snapshots are never lost."""

import dataclasses
import errno

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

import patch_forcing as pf
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.io.atomic import broken_file
from patch_forcing.io.run_layout import checkpoint_step, checkpoints, step_folders
from patch_forcing.runs import saver
from patch_forcing.runs.snapshots import (
    MAX_ERROR,
    SNAPSHOTS,
    ema_weights,
    reconstruct_ema,
    save_snapshot,
)
from patch_forcing.runs.state import initial_state
from patch_forcing.runs.step import TrainStep
from patch_forcing.runs.trainer import train
from patch_forcing.training.posthoc_ema import WIDTHS, power_share
from tests.support.same_runs import assert_same, tensors
from tests.support.threads import on_threads

MADE = {0.03: 0.04, 0.05: 0.005, 0.08: 0.01, 0.15: 0.03, 0.2: 0.08}
"""Widths, and how far each may be, as a share of the distance between the two kept; profiles are
4, 0, 0.3, 0.9 and 2.3 % from theirs, and a short run moves most where it starts."""


def stored(run):
    return step_folders(run / SNAPSHOTS)


def steps_of(run):
    return [checkpoint_step(path) for path in stored(run)]


def loaded(run):
    """Copies: what safetensors loads is the file, which may change."""
    return {
        path.name: {name: tensor.clone() for name, tensor in tensors(path).items()}
        for path in stored(run)
    }


def flat(weights):
    return torch.cat([weights[name].flatten().double() for name in sorted(weights)])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of 96 steps, 16 snapshots; and averages by brute force, over the weights of all."""
    from tests.support.tiny import TINY

    recipe = dataclasses.replace(TINY, steps=96, snapshot_every=None, checkpoint_every=100)
    run = tmp_path_factory.mktemp("averages") / "run"
    train("digits", recipe, run, progress=False)
    data = recipe.data.open()
    state = initial_state(recipe, data, "cpu")
    step = TrainStep(state, recipe, "cpu")
    seen = []
    for number in range(recipe.steps):
        step(data.batch(BatchSpec(number, recipe.batch_size, recipe.seed)), number)
        seen.append(flat(state.model.state_dict()))
    return run, torch.stack(seen)


def by_brute_force(seen, width):
    average = seen[0]
    for step, weights in enumerate(seen, start=1):
        average = average + power_share(step, width) * (weights - average)
    return average


def test_the_kept_averages_are_those_of_the_weights_of_every_step(trained):
    run, seen = trained
    apart = (by_brute_force(seen, 0.05) - by_brute_force(seen, 0.1)).norm()
    for width in WIDTHS:
        kept = load_file(checkpoints(run)[-1] / f"ema-{width:.2f}" / "model.safetensors")
        assert (flat(kept) - by_brute_force(seen, width)).norm() < 1e-4 * apart
        low = load_file(stored(run)[-1] / f"ema-{width:.2f}" / "model.safetensors")
        assert all(low[name].equal(kept[name].half()) for name in kept)


def test_averages_of_other_widths_are_those_kept_while_training(trained, tmp_path):
    run, seen = trained
    assert steps_of(run) == list(range(6, 97, 6))
    for step in (96, 72):
        folders = reconstruct_ema(run, list(MADE), tmp_path / f"out-{step}", step=step)
        kept = {width: by_brute_force(seen[:step], width) for width in {*MADE, *WIDTHS}}
        apart = (kept[0.05] - kept[0.1]).norm()
        for width, folder in zip(MADE, folders, strict=True):
            result = flat(pf.load_model(folder).state_dict())
            assert (result - kept[width]).norm() < MADE[width] * apart, width
    alone = reconstruct_ema(str(run), [0.08], str(tmp_path / "alone"))
    assert alone == [tmp_path / "alone"]
    both = [pf.load_model(one).state_dict() for one in (*alone, tmp_path / "out-96" / "width-0.08")]
    assert flat(both[0]).equal(flat(both[1]))
    pf.load(alone[0])(labels=[3], seeds=[0], num_steps=2)


@given(st.integers(1, 40), st.integers(1, 5000), st.floats(0.005, 0.3))
def test_a_width_is_made_or_the_range_is_named_and_can_be_made(count, every, width):
    steps = [every * number for number in range(1, count + 1)]
    try:
        assert ema_weights(steps, [width]).sum() == pytest.approx(1)
    except pf.UserError as error:
        low, high = (float(x) for x in str(error).split("choose ")[1].split(",")[0].split(" to "))
        assert low <= 0.05 <= 0.1 <= high
        assert not low <= width <= high
        assert np.isfinite(ema_weights(steps, [low, high])).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 0.0, -0.1, 0.3])
def test_no_width_beyond_a_plain_mean(bad):
    with pytest.raises(pf.UserError, match=r"is out of range: choose 0\.\d+ to 0\.2\d+, which 16"):
        ema_weights(range(1, 17), [0.1, bad])
    assert MAX_ERROR < 1
    with pytest.raises(pf.UserError, match=r"no width: give one or more, such as 0\.08"):
        ema_weights(range(1, 17), [])


@pytest.mark.parametrize("stop", [3, 4])
def test_a_resumed_run_has_the_snapshots_of_the_run_that_never_stopped(recipe, tmp_path, stop):
    recipe = dataclasses.replace(recipe, snapshot_every=2)
    train("digits", recipe, tmp_path / "whole", progress=False)
    short = dataclasses.replace(recipe, steps=stop)
    train("digits", short, tmp_path / "parts", progress=False)
    train("digits", recipe, tmp_path / "parts", progress=False)
    extra = [stop] if stop % 2 else []  # its last step
    assert steps_of(tmp_path / "parts") == sorted([2, 4, 6, *extra])
    for path in stored(tmp_path / "whole"):
        assert broken_file(path) is None
        assert_same(path, tmp_path / "parts" / SNAPSHOTS / path.name)
    whole, parts = (checkpoints(tmp_path / name)[-1] for name in ("whole", "parts"))
    assert_same(whole, parts)
    assert any(name.startswith("ema-0.05/") for name in tensors(whole))


def test_snapshots_after_the_checkpoint_resumed_from_are_taken_again(recipe, tmp_path):
    recipe = dataclasses.replace(recipe, steps=7, snapshot_every=3)
    whole = train("digits", recipe, tmp_path / "run", progress=False)
    before = loaded(tmp_path / "run")
    assert steps_of(tmp_path / "run") == [3, 6, 7]
    for checkpoint in checkpoints(tmp_path / "run")[1:]:  # 6 and 7; 4 is left
        (checkpoint / "manifest.json").unlink()
    weights = whole.checkpoint / "model" / "model.safetensors"
    spoilt = next((stored(tmp_path / "run")[1]).rglob("*.safetensors"))
    spoilt.write_bytes(weights.read_bytes())
    assert train("digits", recipe, tmp_path / "run", progress=False).steps_before == 4
    after = loaded(tmp_path / "run")
    assert after.keys() == before.keys()
    assert all(after[p][n].equal(before[p][n]) for p in before for n in before[p])


def test_a_snapshot_that_the_disk_does_not_take_is_tried_again(
    recipe, tmp_path, caplog, monkeypatch
):
    recipe = dataclasses.replace(recipe, steps=8, snapshot_every=3)
    tries = []

    def failing(run, step, state, ranks):
        tries.append(step)
        if len(tries) < 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(run, step, state, ranks)

    save = saver.save_snapshot
    monkeypatch.setattr(saver, "save_snapshot", failing)
    outcome = train("digits", recipe, tmp_path / "run", progress=False)
    assert tries == [3, 4, 5, 6, 8]  # 4 and 5: one step in ten of checkpoint_every, at least one
    assert caplog.messages == [
        f"the snapshot of step {step} is not saved yet: No space left on device "
        f"({tmp_path / 'run'})"
        for step in (3, 4)
    ]
    assert steps_of(tmp_path / "run") == [5, 6, 8]
    assert outcome.steps == 8  # checkpoints were saved meanwhile
    assert [checkpoint_step(path) for path in checkpoints(tmp_path / "run")] == [4, 6, 8]


def test_snapshots_that_always_fail_stop_the_run_with_the_reason(recipe, tmp_path, monkeypatch):
    def failing(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(saver, "save_snapshot", failing)
    with pytest.raises(pf.UserError, match=r"Read-only file system, at step 12 and 10 times"):
        train("digits", dataclasses.replace(recipe, steps=50), tmp_path / "run", progress=False)
    # of step 12 too: a checkpoint does not wait for a snapshot
    assert checkpoint_step(checkpoints(tmp_path / "run")[-1]) == 12


def test_without_snapshots_there_are_no_averages_and_they_cannot_be_begun_later(recipe, tmp_path):
    none = dataclasses.replace(recipe, steps=3, snapshot_every=0)
    outcome = train("digits", none, tmp_path / "run", progress=False)
    assert {path.name for path in outcome.checkpoint.iterdir() if path.is_dir()} == {"model", "ema"}
    assert not (tmp_path / "run" / SNAPSHOTS).exists()
    with pytest.raises(pf.UserError, match="trained with snapshot_every=0, now it is 3"):
        train("digits", recipe, tmp_path / "run", progress=False)
    # begun by a release without the field
    record = tmp_path / "run" / "run.json"
    record.write_text(record.read_text().replace('"snapshot_every": 0,', ""))
    with pytest.raises(pf.UserError, match="trained with snapshot_every=0, now it is 3"):
        train("digits", recipe, tmp_path / "run", progress=False)
    longer = dataclasses.replace(none, steps=4)
    assert train("digits", longer, tmp_path / "run", progress=False).steps_before == 3


def test_the_distance_of_snapshots_may_change_but_not_to_none(recipe, tmp_path):
    train("digits", recipe, tmp_path / "run", progress=False)
    closer = dataclasses.replace(recipe, steps=9, snapshot_every=2)
    train("digits", closer, tmp_path / "run", progress=False)
    assert steps_of(tmp_path / "run") == [3, 6, 8, 9]
    with pytest.raises(pf.UserError, match="snapshot_every=2, now it is 0"):
        train("digits", dataclasses.replace(closer, snapshot_every=0), tmp_path / "run")


def test_a_snapshot_takes_a_place_or_fails_on_all_ranks(recipe, tmp_path):
    state = initial_state(recipe, recipe.data.open(), "cpu")
    for _ in range(2):
        assert on_threads(2, lambda ranks: save_snapshot(tmp_path, 3, state, ranks)) == [None] * 2
    assert [broken_file(path) for path in stored(tmp_path)] == [None]
    (tmp_path / SNAPSHOTS / "step-00000006").write_text("in the way")
    ended = on_threads(2, lambda ranks: save_snapshot(tmp_path, 6, state, ranks))
    assert [isinstance(error, OSError) for error in ended] == [True, True]
