"""`patch-forcing bench`: its table, its file, its mistakes."""

import json

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import patch_forcing as pf
from patch_forcing.cli.main import run
from tests.support.exact import tiny_dit


@pytest.fixture
def model(tmp_path):
    tiny_dit().save(tmp_path / "model")
    return str(tmp_path / "model")


def test_the_table_is_printed_and_written(model, tmp_path, capsys):
    out = tmp_path / "speed.json"
    sizes = ["--batch-size", "2", "--calls", "4", "--seconds", "0"]
    run(["bench", "speed", model, *sizes, "--out", str(out)])
    printed = capsys.readouterr().out
    report = json.loads(out.read_text())
    assert [row["what"] for row in report["rows"]] == [
        "forward, one time",
        "forward, two times",
        "forward, a time for each patch",
        "euler",
        "dual-loop",
        "dual-loop:evaluate=moving",
        "look-ahead",
    ]
    assert all(row["what"] in printed for row in report["rows"])
    assert (report["batch_size"], report["precision"], report["compiled"]) == (2, "fp32", False)
    assert {"hardware", "versions", "commit", "matrix_rate"} <= report.keys()


def test_the_front_is_printed_written_and_drawn(tmp_path, capsys):
    out = tmp_path / "front.json"
    sizes = ["--images", "6", "--nfe", "2,8", "--samplers", "euler; dual-loop", "--out", str(out)]
    run(["bench", "samplers", "digits", *sizes])
    report = json.loads(out.read_text())
    budgets = [(point["sampler"], point["nfe"]) for point in report["points"]]
    assert budgets == [("euler", 2), ("euler", 8), ("dual-loop", 2), ("dual-loop", 8)]
    settings = {point["settings"] for point in report["points"]}
    assert settings == {"euler", "dual-loop:easy_fraction=0.6,inner_steps=2"}
    assert {"hardware", "versions", "commit", "model_hash", "images"} <= report.keys()
    printed = capsys.readouterr().out
    assert "dual-loop" in printed
    assert str(out) in printed
    with Image.open(tmp_path / "front.png") as chart:
        assert chart.width > 800


def test_a_fitted_grid_is_written_with_the_model_and_used(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(["bench", "grid", "digits", "--images", "4", "--steps", "8"])
    assert not list(tmp_path.iterdir())
    run(["bench", "grid", "digits", "--images", "4", "--steps", "8", "--out", "fitted"])
    assert "half of all steps before t = 0." in capsys.readouterr().out
    quantiles = pf.load_model("fitted").sampling_info.time_quantiles
    result = pf.load("fitted")([3], [0], sampler="euler", num_steps=32)
    assert result.time_grid == pytest.approx(quantiles)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_fitted_grid_leaves_the_weights_as_they_are_stored(tmp_path, dtype):
    stored, fitted = tmp_path / "stored", tmp_path / "fitted"
    tiny_dit().to(dtype).save(stored)
    run(["bench", "grid", str(stored), "--images", "2", "--steps", "8", "--out", str(fitted)])
    weights = [folder / "model.safetensors" for folder in (stored, fitted)]
    assert {tensor.dtype for tensor in load_file(weights[1]).values()} == {dtype}
    assert weights[0].read_bytes() == weights[1].read_bytes()
    run(["bench", "grid", str(stored), "--images", "2", "--steps", "8", "--out", str(stored)])
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert pf.load_model(stored).sampling_info == pf.load_model(fitted).sampling_info


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["samplers", "digits", "--nfe", "two"], "--nfe 'two': write budgets"),
        (["samplers", "digits", "--nfe", "1", "--samplers", "dual-loop"], "no budget buys a step"),
        (["samplers", "digits", "--samplers", "eular"], "did you mean 'euler'"),
        (["samplers", "digits", "--images", "1"], "--images 1 is out of range"),
        (["samplers", "digits", "--features", "emoji"], "digits is no model of emoji scenes"),
        (["samplers", "digits", "--out", "front.txt"], "name a file that ends in .json"),
        (["samplers", "digits", "--samplers", ";"], "name at least one"),
        (["samplers", "digits", "--samplers", "euler;euler"], "euler is there twice"),
        (["grid", "digits", "--steps", "2"], "--steps 2 is out of range: choose 8"),
        (["grid", "digits", "--seed", "-1"], "seed -1 is out of range"),
        (["sped", "digits"], "did you mean 'speed'"),
        (["--calls", "4"], "'--calls' is no measurement"),
        (["speed", "digit"], "did you mean 'digits'"),
        (["speed", "XXL/2"], "unknown model or folder 'XXL/2'|XXL/2"),
        (["speed", "B/two"], "unknown model size 'B/two'"),
        (["speed", "digits", "--batch-size", "0"], "--batch-size 0 is out of range"),
        (["speed", "digits", "--seconds", "-1"], "--seconds -1.0 is out of range"),
        (["speed", "digits", "--calls", "-1"], "--calls -1 is out of range: choose 4"),
        (["speed", "digits", "--out", "table.txt"], "name a file that ends in .json"),
        (["speed", "digits", "--device", "tpu"], "--device 'tpu' is not on this machine"),
        (["speed"], "MODEL"),
    ],
)
def test_mistakes_are_named_with_their_mend(args, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(pf.UserError, match=message):
        run(["bench", *args])
    assert not list(tmp_path.iterdir())


def test_a_folder_that_would_be_lost_is_refused_before_the_fit(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(pf.UserError, match="exists and is not a model folder"):
        run(["bench", "grid", "digits", "--steps", "1000", "--out", str(tmp_path)])


def test_help_names_what_there_is(capsys):
    run(["bench", "--help"])
    assert "speed" in capsys.readouterr().out
