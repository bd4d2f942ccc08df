"""`convert`, and what `sample` and `train` make of its results, as a user meets them."""

import json

import pytest
import torch

import patch_forcing as pf
from patch_forcing.cli.main import run
from tests.support import published
from tests.support.exact import tiny_dit

SAMPLE = ["--sampler", "euler", "--steps", "2"]


@pytest.fixture
def pixels(tmp_path):
    """A converted model of the 1000 classes, in pixels."""
    config = {"params": {"num_heads": 4}}
    state = published.random_state(channels=3, classes=1000)
    torch.save({"config": config, "state_dict": state}, tmp_path / "pft.pt")
    run(["convert", str(tmp_path / "pft.pt"), "--out", str(tmp_path / "model")])
    return tmp_path / "model"


def rows(folder):
    return json.loads((folder / "samples.json").read_text())


def test_classes_of_imagenet_by_name_and_number(pixels, tmp_path, mistake, capsys):
    args = ["--labels", "golden retriever,207,tench", "--out", str(tmp_path / "out")]
    run(["sample", str(pixels), *args, *SAMPLE])
    assert [row["label"] for row in rows(tmp_path / "out")] == [207, 207, 0]
    capsys.readouterr()
    line = f"sample {pixels} --out {tmp_path / 'no'} --labels"
    assert "did you mean 'golden retriever'?" in mistake(f"{line} golden-retreiver")
    assert "1000 are known, the nearest" in mistake(f"{line} qqqqq")
    assert not (tmp_path / "no").exists()


def test_compat_schedule_and_weak_model_are_honoured_and_recorded(pixels, tmp_path):
    tiny_dit(num_classes=1000, depth=1, seed=3).save(tmp_path / "weak")
    more = ["--labels", "3", "--guidance", "2", "--steps", "3"]
    settings = {
        "plain": ["--sampler", "look-ahead"],
        "compat": ["--sampler", "look-ahead", "--compat", "published"],
        "rising": ["--sampler", "look-ahead", "--guidance-schedule", "linear"],
        "weak": ["--sampler", "look-ahead", "--autoguidance", str(tmp_path / "weak")],
    }
    images = {}
    for name, extra in settings.items():
        run(["sample", str(pixels), *more, *extra, "--out", str(tmp_path / name)])
        images[name] = (tmp_path / name / "0.png").read_bytes()
    assert len(set(images.values())) == 4
    assert rows(tmp_path / "compat")[0]["compat"] == "published"
    assert rows(tmp_path / "compat")[0]["nfe"] == 9  # the first step is not guided
    assert rows(tmp_path / "plain")[0]["nfe"] == 10
    assert rows(tmp_path / "rising")[0]["guidance_schedule"] == "linear"
    assert rows(tmp_path / "weak")[0]["weak_model_hash"] == pf.load(tmp_path / "weak").hash


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--compat published", "AdamsBashforthSampler is not of the paper"),
        ("--compat paper --sampler euler", "unknown compat 'paper': did you mean|known"),
        ("--guidance-schedule linear", "guidance schedule linear without guidance"),
        ("--guidance 2 --guidance-schedule liner", "did you mean 'linear'"),
        ("--autoguidance digits", "guidance weak model digits without guidance"),
        ("--guidance 2 --autoguidance digits", "has in_channels 1"),
        ("--guidance 2 --autoguidance nowhere", "unknown model or folder 'nowhere'"),
    ],
)
def test_options_that_cannot_be_honoured(pixels, tmp_path, mistake, capsys, options, message):
    capsys.readouterr()
    error = mistake(f"sample {pixels} --labels 3 --out {tmp_path / 'no'} {options}")
    assert any(part in error for part in message.split("|"))
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nowhere.pt --out {}/x", "nowhere.pt does not exist"),
        ("{} --out {}/x", "is a folder"),
        ("{}/sit.pt --out {}/x", "add --kind sit"),
        ("{}/sit.pt --out {}/x --kind ddpm", "kind"),
        ("{}/sit.pt --out {}/x --kind sit", "Add --num-heads N"),
        ("{}/sit.pt --out {}/x --kind sit --num-heads 0", "--num-heads 0 is out of range"),
        ("{}/sit.pt --out {}/full --kind sit --num-heads 4", "is not a model folder"),
        ("digits --to published --out {}/x.zip", "ends in one of"),
        ("digits --to published --out {}/x.pt --kind sit", "leave them out"),
        ("{}/cut.safetensors --out {}/x", "truncated or damaged"),
    ],
)
def test_mistakes_of_convert(tmp_path, mistake, line, message):
    torch.save(published.random_state(outputs=8), tmp_path / "sit.pt")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    (tmp_path / "full").mkdir()
    before = sorted(tmp_path.rglob("*"))
    assert message in mistake("convert " + line.replace("{}", str(tmp_path)))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_bundled_model_there_and_back(tmp_path):
    run(["convert", "digits", "--to", "published", "--out", str(tmp_path / "d.safetensors")])
    heads = str(pf.load("digits").model.config.num_heads)
    back = ["--out", str(tmp_path / "d"), "--num-heads", heads, "--kind", "pft"]
    run(["convert", str(tmp_path / "d.safetensors"), *back])
    ours, theirs = pf.load("digits").model.state_dict(), pf.load_model(tmp_path / "d").state_dict()
    assert all(theirs[name].equal(weight) for name, weight in ours.items())


def test_training_starts_from_a_converted_model(tmp_path):
    sizes = {"width": 16, "depth": 1, "side": 4, "grid": 2, "channels": 1, "classes": 7}
    torch.save(published.random_state(outputs=2, **sizes), tmp_path / "sit.pt")
    kind = ["--kind", "sit", "--num-heads", "2"]
    run(["convert", str(tmp_path / "sit.pt"), *kind, "--out", str(tmp_path / "sit")])
    args = ["--network.patch-size", "4", "--network.hidden-size", "16", "--network.depth", "1"]
    args += ["--steps", "1"]
    args += ["--network.num-heads", "2", "--batch-size", "8", "--device", "cpu"]
    args += ["--init-from", str(tmp_path / "sit"), "--out", str(tmp_path / "run")]
    run(["train", "digits", *args])
    record = json.loads((tmp_path / "run/run.json").read_text())["init_from"]
    assert record["summary"] == (
        "log-variance added, velocity kept; 0 of 10 classes kept, by name; 10 begin at random"
    )
