"""Watching a run changes nothing of it, and says what is so."""

import dataclasses
import json

import pytest
import torch
from PIL import Image

import patch_forcing as pf
from patch_forcing.core.calibration import Calibration, calibration
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.generation.pipeline import load
from patch_forcing.io.image_file import save_image
from patch_forcing.io.run_layout import checkpoints
from patch_forcing.runs.state import initial_state
from patch_forcing.runs.step import TrainStep
from patch_forcing.runs.trainer import train
from patch_forcing.runs.watch import HeadCheck, error_row, look
from tests.support.same_runs import assert_same, losses
from tests.support.several_ranks import train_on


def rows(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("world", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_weights_are_bitwise_those_of_a_run_that_is_not_watched(recipe, tmp_path, world):
    recipe = dataclasses.replace(recipe, steps=4)
    watched = dataclasses.replace(recipe, sample_every=3)
    unwatched = dataclasses.replace(recipe, log_every=100)
    for name, one in (("watched", watched), ("unwatched", unwatched)):
        assert {status for status, _ in train_on(world, one, tmp_path / name)} == {0}
    assert_same(checkpoints(tmp_path / "watched")[-1], checkpoints(tmp_path / "unwatched")[-1])
    sheets = [file.name for file in sorted((tmp_path / "watched" / "samples").iterdir())]
    assert sheets == [f"step-{step:08d}.png" for step in (3, 4)]
    assert not (tmp_path / "unwatched" / "samples").exists()


def test_a_sheet_is_of_the_averaged_weights_by_the_default_sampler(recipe, tmp_path):
    recipe = dataclasses.replace(recipe, steps=3, sample_every=2, checkpoint_every=1)
    outcome = train("digits", recipe, tmp_path / "run", progress=False)
    assert outcome.sheet == tmp_path / "run" / "samples" / "step-00000003.png"
    for step in (2, 3):
        pipe = load(tmp_path / "run" / "checkpoints" / f"step-{step:08d}" / "ema")
        save_image(pipe(range(10), range(10), trace=True).maps(), tmp_path / "again.png")
        drawn = Image.open(tmp_path / "run" / "samples" / f"step-{step:08d}.png")
        assert drawn.tobytes() == Image.open(tmp_path / "again.png").tobytes()


def test_a_small_first_sheet_comes_early_and_changes_nothing(recipe, tmp_path, monkeypatch):
    recipe = dataclasses.replace(recipe, sample_every=8, steps=9)
    later = train("digits", recipe, tmp_path / "later", progress=False)  # a quarter of the way
    monkeypatch.setattr("patch_forcing.runs.watch.EARLY", 0.0)
    early = train("digits", recipe, tmp_path / "early", progress=False)
    assert_same(later.checkpoint, early.checkpoint)
    assert losses(tmp_path / "later") == losses(tmp_path / "early")
    sheets = {}
    for name in ("later", "early"):
        for file in (tmp_path / name / "samples").iterdir():
            with Image.open(file) as sheet:
                sheets[name, file.name] = sheet.width
    one, two, eight, nine = (f"step-{step:08d}.png" for step in (1, 2, 8, 9))
    assert sorted(sheets) == [
        *(("early", step) for step in (one, eight, nine)),
        *(("later", step) for step in (two, eight, nine)),
    ]
    assert sheets["early", one] < sheets["early", eight] == sheets["later", eight]
    assert sheets["later", two] == sheets["early", one]


def test_a_run_shorter_than_its_interval_has_a_first_sheet_and_resumed_no_second(recipe, tmp_path):
    recipe = dataclasses.replace(recipe, sample_every=100)
    train("digits", dataclasses.replace(recipe, steps=5), tmp_path / "run", progress=False)
    names = [file.name for file in sorted((tmp_path / "run" / "samples").iterdir())]
    assert names == ["step-00000001.png", "step-00000005.png"]
    train("digits", recipe, tmp_path / "run", progress=False)
    names = [file.name for file in sorted((tmp_path / "run" / "samples").iterdir())]
    assert names == ["step-00000001.png", "step-00000005.png", "step-00000006.png"]


def test_without_sheets_there_is_no_early_one(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr("patch_forcing.runs.watch.EARLY", 0.0)
    train("digits", recipe, tmp_path / "run", progress=False)
    assert not (tmp_path / "run" / "samples").exists()


def test_a_resumed_run_logs_and_draws_what_the_whole_one_does(recipe, tmp_path):
    recipe = dataclasses.replace(recipe, sample_every=4)
    train("digits", recipe, tmp_path / "whole", progress=False)
    train("digits", dataclasses.replace(recipe, steps=3), tmp_path / "parts", progress=False)
    train("digits", recipe, tmp_path / "parts", progress=False)
    for ours, theirs in zip(rows(tmp_path / "whole"), rows(tmp_path / "parts"), strict=True):
        ours.pop("images_per_second"), theirs.pop("images_per_second")
        assert ours == theirs
    for step in (4, 6):
        name = f"samples/step-{step:08d}.png"
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


def test_a_sheet_that_cannot_be_written_stops_nothing(recipe, tmp_path, caplog):
    recipe = dataclasses.replace(recipe, sample_every=3)
    run = tmp_path / "run"
    train("digits", dataclasses.replace(recipe, steps=1, sample_every=0), run, progress=False)
    (run / "samples").write_text("in the way")
    outcome = train("digits", recipe, run, progress=False)
    assert (outcome.steps, outcome.sheet) == (6, None)
    assert [message.split(":")[0] for message in caplog.messages] == [
        "no samples of step 3",
        "no samples of step 6",
    ]


def test_errors_are_those_of_the_step_itself_with_the_weights_as_they_are(recipe):
    # a step of rate 0 leaves the weights, and gives the loss of the very same inputs
    frozen = dataclasses.replace(recipe.optimizer, lr=1e-30)
    recipe = dataclasses.replace(recipe, optimizer=frozen, batch_size=32)
    data = recipe.data.open()
    state = initial_state(recipe, data, "cpu")
    for weight in state.model.parameters():
        weight.data += 0.1 * torch.randn_like(weight)
    step = TrainStep(state, recipe, "cpu")
    batch = data.batch(BatchSpec(3, 32, recipe.seed))
    loss, _ = step(batch, 3)
    result = look(state.model, recipe, step.inputs(batch, 3))
    assert result.error.mean() == pytest.approx(float(loss.velocity), rel=1e-5)
    assert result.nll.mean() == pytest.approx(float(loss.nll), rel=1e-5)
    row = error_row(result)
    assert len(row) == 24
    assert row["difficulty_ratio"] == pytest.approx(calibration(result).ratio, rel=1e-3)


LIVE = Calibration(ratio=1.1, gain=0.2, rank_correlation=0.5, spread=0.8)
DEAD = Calibration(ratio=1.0, gain=-0.001, rank_correlation=float("nan"), spread=0.0)
WILD = Calibration(ratio=5.0, gain=0.1, rank_correlation=0.5, spread=0.8)
LOST = Calibration(*[float("nan")] * 4)


@pytest.mark.parametrize(
    ("seen", "output"),
    [
        ([LIVE] * 9, []),
        ([DEAD] * 9, ["is dead"]),
        ([WILD] * 9, ["badly calibrated: squared errors are 5 times"]),
        ([LOST] * 9, ["is dead"]),
        ([DEAD, DEAD, LIVE] * 3, []),
        ([None] * 9, []),
    ],
)
def test_a_head_is_called_dead_once_and_only_if_it_stays_so(recipe, seen, output):
    check = HeadCheck(recipe)
    assert [check.record(step, DEAD) for step in range(100, 200)] == [None] * 100
    result = [check.record(200 + 50 * k, one) for k, one in enumerate(seen)]
    result = [message for message in result if message]
    assert len(result) == len(output)
    assert all(part in message for part, message in zip(output, result, strict=True))


def test_a_head_that_nothing_teaches_is_not_called_dead(recipe):
    check = HeadCheck(dataclasses.replace(recipe, nll_weight=0.0))
    assert [check.record(step, DEAD) for step in range(1000, 1010)] == [None] * 10


def test_a_dead_head_is_said_in_training(recipe, tmp_path, caplog, monkeypatch):
    # taught so slowly that it stays where it began, which is one constant
    monkeypatch.setattr("patch_forcing.runs.watch.MIN_STEPS", 2)
    slow = dataclasses.replace(recipe.optimizer, lr=1e-9)
    recipe = dataclasses.replace(recipe, optimizer=slow)
    train("digits", recipe, tmp_path / "run", progress=False)
    assert [message.split(":")[:2] for message in caplog.messages] == [
        ["step 4", " the difficulty head is dead"]
    ]
    assert len(losses(tmp_path / "run")) == 6


def test_a_negative_interval_is_refused(recipe):
    with pytest.raises(pf.UserError, match="sample_every=-1 is out of range"):
        dataclasses.replace(recipe, sample_every=-1)
