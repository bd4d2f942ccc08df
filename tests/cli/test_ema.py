"""`ema` as a user types it: models that sample, and mistakes that write nothing."""

import pytest

from patch_forcing.cli.main import run
from tests.support.tiny import SMALL_NETWORK

TRAIN = [*SMALL_NETWORK, "--batch-size", "8", "--log-every", "8", "--steps", "16"]


@pytest.fixture
def trained(here):
    run(["train", "digits", *TRAIN, "--out", "run"])
    return here / "run"


@pytest.mark.usefixtures("trained")
def test_models_of_several_widths_and_of_one_sample(here, capsys):
    run(["ema", "run", "--width", "0.03,0.08", "--out", "out/both"])
    run(["ema", "run", "--width", "0.12", "--step", "12", "--out", "one"])
    assert capsys.readouterr().out.splitlines()[-5:] == [
        "width 0.03: out/both/width-0.03",
        "width 0.08: out/both/width-0.08",
        "next: patch-forcing sample out/both/width-0.03",
        "width 0.12: one",
        "next: patch-forcing sample one",
    ]
    for model in ("out/both/width-0.08", "one", "run/snapshots/step-00000016/ema-0.10"):
        run(["sample", model, "--labels", "3", "--steps", "2", "--out", "samples"])
    assert (here / "samples" / "0.png").is_file()


WRONG = {
    "ema": "RUN",
    "ema run --width 0.1": "missing from patch-forcing ema: out",
    "ema run --out new": "missing from patch-forcing ema: width",
    "ema run --width wide --out new": "--width 'wide': 'wide' is no number",
    "ema run --width 0.1, --out new": "'' is no number",
    "ema run --width 0.1,0.1 --out new": "width 0.1 is there twice",
    "ema run --width 0.29 --out new": "width 0.29 is out of range: choose 0.0",
    "ema run --width 0.001 --out new": "which 16 snapshots up to step 16 can make",
    "ema run --width 0.1,nan --out new": "width nan is out of range",
    "ema run --width 0.2 --step 1 --out new": "which 1 snapshots up to step 1 can make",
    "ema run --width 0.1 --step 40 --out new": "no snapshot of step 40: choose 16, the nearest",
    "ema run --width 0.1 --out run": "run exists: name another folder",
    "ema run --width 0.1 --out run/run.json/new": "is a file: name a folder",
    "ema digits --width 0.1 --out new": "digits is no run folder",
    "ema run --widht 0.1 --out new": "missing from patch-forcing ema: width",
}


@pytest.mark.usefixtures("trained")
def test_mistakes_end_in_one_line_and_write_nothing(here, mistake, capsys):
    capsys.readouterr()
    before = sorted(here.rglob("*"))
    for line, message in WRONG.items():
        assert message in mistake(line), line
        assert sorted(here.rglob("*")) == before, line


def test_a_damaged_snapshot_is_named_and_can_be_done_without(trained, here, mistake, capsys):
    capsys.readouterr()
    snapshot = trained / "snapshots" / "step-00000007"
    weights = snapshot / "ema-0.10" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    message = mistake("ema run --width 0.1 --out new")
    assert "run/snapshots/step-00000007/ema-0.10/model.safetensors is missing or damaged" in message
    assert "remove run/snapshots/step-00000007 to do without" in message
    assert not (here / "new").exists()
    run(["ema", "run", "--width", "0.1", "--step", "6", "--out", "earlier"])
    for file in sorted(snapshot.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    snapshot.rmdir()
    run(["ema", "run", "--width", "0.1", "--out", "new"])


@pytest.mark.usefixtures("here")
def test_a_run_without_snapshots_says_how_to_have_them(mistake, capsys):
    run(["train", "digits", *TRAIN, "--snapshot-every", "0", "--out", "run"])
    capsys.readouterr()
    message = mistake("ema run --width 0.1 --out new")
    assert "run holds no snapshots: train again in another --out, with --snapshot-every" in message
    assert "snapshot_every=-1" in mistake("train digits --snapshot-every -1")
