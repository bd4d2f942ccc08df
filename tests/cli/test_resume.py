"""`resume RUN` goes on as the command did that began the run, and changes what it is told to."""

import json
import shutil

import pytest

from patch_forcing.cli.main import run
from patch_forcing.core.errors import UserError
from patch_forcing.io.run_layout import checkpoints
from patch_forcing.runs.run_folder import one_training
from tests.support.image_files import photos
from tests.support.same_runs import assert_same, losses
from tests.support.tiny import SMALL_NETWORK

TINY = [*SMALL_NETWORK, "--log-every", "1", "--sample-every", "0", "--device", "cpu"]
DIGITS = ["train", "digits", *TINY, "--batch-size", "8", "--optimizer.betas", "0.8,0.9"]
FOLDER = ["train", "folder", "--data.path", "pets", *TINY, "--batch-size", "4"]


@pytest.fixture
def begun(here):
    """A run of two steps."""
    run([*DIGITS, "--steps", "2", "--out", "run"])
    return here / "run"


def record(folder):
    return json.loads((folder / "run.json").read_text())


@pytest.mark.parametrize("train", [DIGITS, [*FOLDER, "--data.held-out", "0.3"]])
def test_it_goes_on_bitwise_as_the_same_command_does(here, train):
    photos(here / "pets", {"cat": 5, "owl": 5}, size=(8, 8))
    run([*train, "--steps", "1", "--out", "one"])
    shutil.copytree("one", "other")
    run([*train, "--steps", "3", "--out", "one"])
    run(["resume", "other", "--steps", "3", "--device", "cpu"])
    assert_same(checkpoints(here / "one")[-1], checkpoints(here / "other")[-1])
    assert losses(here / "one") == losses(here / "other")
    one, other = record(here / "one"), record(here / "other")
    assert one == other
    assert "overrides" not in one


def test_data_may_have_moved(here):
    photos(here / "pets", {"cat": 5, "owl": 5}, size=(8, 8))
    run([*FOLDER, "--steps", "1", "--out", "run"])
    (here / "pets").rename(here / "animals")
    with pytest.raises(
        UserError, match=r"pets is not there: .*; if it was moved, --data\.path says"
    ):
        run(["resume", "run", "--steps", "2"])
    run(["resume", "run", "--steps", "2", "--data.path", "animals", "--device", "cpu"])
    assert [step for step, _ in losses(here / "run")] == [1, 2]


@pytest.mark.usefixtures("begun")
def test_a_run_that_is_complete_says_how_to_go_on(capsys):
    capsys.readouterr()
    run(["resume", "run"])
    assert capsys.readouterr().out == "run is complete at 2 steps; --steps N trains on\n"


def test_overridden_values_are_recorded_and_hold(begun, caplog):
    run(["resume", "run", "--steps", "3", "--override", "optimizer.lr=1e-4", "batch-size=4"])
    assert "optimizer.lr 0.003 → 0.0001, batch_size 8 → 4; from step 2 on" in caplog.text
    run(["resume", "run", "--steps", "4"])
    run(["resume", "run", "--steps", "5", "--override", "optimizer.betas=0.7,0.95", "steps=5"])
    now = record(begun)
    assert (now["recipe"]["batch_size"], now["recipe"]["optimizer"]["lr"]) == (4, 1e-4)
    assert now["overrides"] == [
        {"step": 2, "batch_size": [8, 4], "optimizer.lr": [0.003, 0.0001]},
        {"step": 4, "optimizer.betas": [[0.8, 0.9], [0.7, 0.95]]},
    ]
    rows = [json.loads(line) for line in (begun / "metrics.jsonl").read_text().splitlines()]
    rates = [row["lr"] * 51 / row["step"] for row in rows]  # 50 steps of warm-up
    assert rates == pytest.approx([0.003, 0.003, 1e-4, 1e-4, 1e-4])


def test_training_on_with_other_values_names_the_override(begun):
    with pytest.raises(UserError) as error:
        run([*DIGITS, "--steps", "3", "--out", "run", "--no-compile", "--optimizer.lr", "0.01"])
    command = "patch-forcing resume run --override optimizer.lr=0.01"
    assert f"use the same value to resume, change it by {command}, or choose" in str(error.value)
    run([*command.split()[1:], "--steps", "3"])
    assert record(begun)["overrides"] == [{"step": 2, "optimizer.lr": [0.003, 0.01]}]


def test_the_end_of_a_falling_rate_moves_by_override_only(here):
    falling = [*DIGITS, "--optimizer.decay-share", "0.5", "--out", "run"]
    run([*falling, "--steps", "2"])
    with pytest.raises(UserError, match="resume run --override steps=3"):
        run(["resume", "run", "--steps", "3"])
    run(["resume", "run", "--override", "steps=3"])
    assert record(here / "run")["overrides"] == [{"step": 2, "steps": [2, 3]}]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--override", "network.depth=2"], "weights of this run have the sizes it began with"),
        (["--override", "optimizer.lt=1"], "did you mean 'optimizer.lr'"),
        (["--override", "optimizer.lr"], r"has no value: write optimizer\.lr=VALUE"),
        (["--override", "optimizer.lr=fast"], "fast"),
        (["--override", "optimizer.lr=-1"], r"optimizer\.lr=-1\.0 is out of range"),
        (["--override", "data.path=x"], "a run keeps its data"),
        (["--data.path", "x"], "the data of digits lie nowhere"),
    ],
)
def test_mistakes_are_one_line_and_change_nothing(begun, args, message):
    before = (begun / "run.json").read_bytes()
    with pytest.raises(UserError, match=message) as error:
        run(["resume", "run", "--steps", "3", *args])
    assert "\n" not in str(error.value)
    assert (begun / "run.json").read_bytes() == before


def test_what_is_no_run_or_is_being_trained_is_named(begun):
    with pytest.raises(UserError, match=r"nowhere is no run folder, since it has no run\.json"):
        run(["resume", "nowhere"])
    with one_training(begun), pytest.raises(UserError, match="is being trained by process"):
        run(["resume", "run", "--steps", "3"])
