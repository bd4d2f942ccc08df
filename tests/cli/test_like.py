"""`sample --like`: an image from the settings that its file holds."""

import json

import numpy as np
import pytest
from PIL import Image

import patch_forcing as pf
from patch_forcing.cli.main import run
from tests.support.exact import tiny_dit

HOW = ["--labels", "3,5", "--seeds", "4-5", "--sampler", "dual-loop:inner_steps=2", "--steps", "3"]
GUIDED = ["--guidance", "2", "--guidance-interval", "0.1,0.8", "--guidance-schedule", "linear"]


def pixels(file) -> list:
    return np.array(Image.open(file)).tolist()


def row(folder) -> dict:
    (only,) = json.loads((folder / "samples.json").read_text())
    return only


@pytest.fixture
def digit(here, capsys):
    """A PNG of seed 5, class 5."""
    run(["sample", "digits", *HOW, *GUIDED, "--device", "cpu"])
    capsys.readouterr()
    return here / "samples/5.png"


def test_the_image_is_made_again_from_its_file_alone(here, digit, capsys):
    alone = digit.rename(here / "alone.png")
    run(["sample", "--like", "alone.png", "--out", "again", "--device", "cpu"])
    again = here / "again/5.png"
    assert pixels(again) == pixels(alone)
    rows = [file.info["patch-forcing"] for file in map(Image.open, (alone, again))]
    assert rows[0] == rows[1]
    assert "seconds" not in json.loads(rows[0])
    assert "recommends" not in capsys.readouterr().out


def test_the_kind_of_guidance_is_repeated_and_the_missing_one_is_by_the_condition(here):
    guided = ["--guidance", "2", "--guidance-kind", "noisier:ratio=0.5"]
    run(["sample", "digits", *HOW, *guided, "--device", "cpu", "--out", "first"])
    settings = json.loads(Image.open(here / "first/5.png").info["patch-forcing"])
    assert settings["guidance_kind"] == "noisier:ratio=0.5"
    run(["sample", "--like", "first/5.png", "--out", "again", "--device", "cpu"])
    assert row(here / "again")["guidance_kind"] == "noisier:ratio=0.5"
    assert pixels(here / "again/5.png") == pixels(here / "first/5.png")
    run(["sample", "--like", "first/5.png", "--guidance", "2", "--out", "label", "--device", "cpu"])
    assert "guidance_kind" not in row(here / "label")
    assert pixels(here / "label/5.png") != pixels(here / "first/5.png")


def test_without_settings_in_the_file_those_of_samples_json_are_taken(here, digit):
    Image.open(digit).save(digit)
    run(["sample", "--like", "samples/5.png", "--out", "again", "--device", "cpu"])
    assert pixels(here / "again/5.png") == pixels(digit)


@pytest.mark.usefixtures("digit")
@pytest.mark.parametrize(
    ("options", "changed"),
    [
        (["--seeds", "9"], {"seed": 9}),
        (["--labels", "1"], {"label": 1, "class": "1"}),
        (["--guidance", "1"], {"guidance": 1.0, "guidance_interval": None,
                               "guidance_schedule": "constant"}),
        (["--sampler", "euler", "--steps", "2"], {"sampler": "euler", "grid": [0, 0.5, 1]}),
    ],
)  # fmt: skip
def test_what_is_given_comes_in_place_of_it(here, options, changed):
    run(["sample", "--like", "samples/5.png", *options, "--out", "again", "--device", "cpu"])
    before = json.loads(Image.open(here / "samples/5.png").info["patch-forcing"])
    after = row(here / "again")
    shared = before.keys() - {"nfe", "token_evaluations"} - changed.keys()
    assert {name: after[name] for name in shared} == {name: before[name] for name in shared}
    assert {name: after[name] for name in changed} == changed


def test_a_class_is_looked_for_by_name_in_another_model(here):
    for name, classes in (("a", ("cat", "owl")), ("b", ("owl", "bee"))):
        model = tiny_dit(num_classes=2)
        model.data_info = pf.DataInfo(class_names=classes)
        model.save(here / name)
    how = ["--labels", "owl", "--steps", "1", "--device", "cpu", "--out"]
    run(["sample", "a", *how, "first"])
    run(["sample", "b", "--like", "first/0.png", "--out", "second", "--device", "cpu"])
    assert (row(here / "first")["label"], row(here / "second")["label"]) == (1, 0)


def test_prompts_and_no_condition_are_repeated(here):
    tiny_dit(condition="bytes:length=12,refiner=1", num_classes=0).save(here / "text")
    for number, prompt in enumerate(["two owls", "none"]):
        out = f"out{number}"
        run(["sample", "text", "--prompt", prompt, "--count", "1", "--steps", "1", "--out", out])
        run(["sample", "--like", f"{out}/0.png", "--out", f"{out}-again"])
        assert pixels(here / out / "0.png") == pixels(here / f"{out}-again/0.png")


@pytest.mark.usefixtures("digit")
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sample", "MODEL is missing"),
        ("sample --like nowhere.png", "no such file"),
        ("sample --like other.png", "holds no settings"),
        ("sample --like false.png", "settings have seed='x'"),
        ("sample --like edit.png", "use patch-forcing edit"),
        ("sample --like moved.png", "unknown model or folder 'moved'"),
        ("sample --like weights.png --device cpu", "with the model 123, which is"),
        ("sample --like weak.png", "add --autoguidance MODEL"),
        ("sample --like samples/5.png", "lies in --out samples"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(here, refused, line, message):
    settings = json.loads(Image.open(here / "samples/5.png").info["patch-forcing"])
    changes = {
        "false": {"seed": "x"},
        "edit": {"edit": {}},
        "moved": {"model": "moved"},
        "weights": {"model_hash": "123"},
        "weak": {"weak_model_hash": "abc"},
    }
    from patch_forcing.io.image_file import save_image

    picture = Image.new("L", (8, 8))
    picture.save(here / "other.png")
    for name, change in changes.items():
        save_image(picture, here / f"{name}.png", settings | change)
    refused(line, message)
