"""`evaluate difficulty` as users type it: one JSON object, a table, a chart, one line of error."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import patch_forcing as pf
from patch_forcing.cli.main import run
from patch_forcing.io.image_file import is_own_image
from patch_forcing.views import charts
from tests.support.emoji_font import save_atlas, tiny_atlas
from tests.support.exact import tiny_dit


@pytest.fixture
def sets(here):
    """A model of the classes x and y, images of both, and some that do not fit."""
    random = np.random.default_rng(0)
    for name in ("data/x", "data/y", "flat", "other/z", "other/x", "one", "bad"):
        Path(name).mkdir(parents=True)
        for number in range(1 if name == "one" else 3):
            pixels = random.integers(0, 256, (16, 16, 3), np.uint8)
            Image.fromarray(pixels).save(f"{name}/{number}.png")
    Path("bad/1.png").write_bytes(b"no image")
    sizes = {"patch_size": 4, "num_classes": 2}
    save(tiny_dit(16, **sizes), "model", ("x", "y"))
    save(tiny_dit(16, **sizes), "nameless")
    save(tiny_dit(16, **{**sizes, "num_classes": 0}), "plain")
    save(tiny_dit(16, **{**sizes, "num_classes": 0}, in_channels=1), "grey")
    save(tiny_dit((16, 8), **sizes), "wide", ("x", "y"))
    save(tiny_dit(16, predict_difficulty=False, **sizes), "headless", ("x", "y"))
    save_atlas(here / "atlas", tiny_atlas())
    return here


def save(model, folder, class_names=()):
    model.data_info = pf.DataInfo(class_names=class_names)
    model.save(folder)


def test_one_json_object_is_printed_and_table_record_and_chart_are_written(sets, capsys):
    line = "evaluate difficulty model data --bins 3 --chart deep/a.png --out deep/a.json"
    run(line.split())
    printed = capsys.readouterr()
    record = json.loads(printed.out)
    assert (record["kind"], record["n"], record["bins"]) == ("difficulty", 6, 3)
    assert record["data"]["condition"] == "class"
    table = printed.err.splitlines()
    assert table[0] == "model, 6 images of data"
    assert [row.split(" | ")[0] for row in table[4:8]] == [
        "| 0 … 0.3333", "| 0.3333 … 0.6667", "| 0.6667 … 1", "| all",
    ]  # fmt: skip
    # random weights know nothing of errors
    assert [row.startswith("warning: the difficulty head is dead: it") for row in table[8:]] == (
        [True] if record["dead"] else []
    )
    assert json.loads((sets / "deep/a.json").read_text()) == record
    assert is_own_image(sets / "deep/a.png")
    run([*line.split(), "--markdown", "a.md", "--data.condition", "none"])  # both replaced
    assert (sets / "a.md").read_text().startswith("model, 6 images of data\n\n| t |")
    assert json.loads(capsys.readouterr().out)["data"]["condition"] == "none"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("headless data", "headless predicts no difficulty: choose a model trained to do so"),
        ("nowhere data", "nowhere"),
        ("model nowhere", "nowhere is not there: give a folder of images"),
        ("model model", "model holds a model of patch-forcing"),
        ("model flat", "data.condition=class: no image of flat has a label: choose none"),
        ("model other", "unknown class of other 'z': known: x, y"),
        ("nameless atlas --count 2 --bins 0", "--bins 0 is out of range: choose 1 to 20"),
        ("model atlas", "unknown class of atlas 'a'"),
        (
            "model atlas --data.depth 2",
            "is of folders of images, and atlas holds emoji",
        ),
        ("model data --data.condition caption", "is not of model: choose class or none"),
        ("plain data --data.condition class", "data.condition=class is not of plain: choose none"),
        ("model data --count 7", "data holds 6 images, --count 7 is more: lower it"),
        ("model data --count 1", "--count 1 is out of range: choose 2 or more"),
        ("plain one", "1 image has no interval: give 2 or more"),
        ("plain bad", "bad/1.png is bad ("),
        ("wide data", "wide makes images of 3×16×8: images are read as squares"),
        ("grey atlas", "atlas holds emoji in colour, grey makes grey images"),
        ("model data --timesteps lgt", "unknown timesteps 'lgt': did you mean 'ltg'"),
        ("model data --out x.txt", "name a file that ends in .json"),
        ("model data --chart x.jpg", "name a file that ends in .png"),
        ("model data --chart data/x/0.png", "is there and not of this command"),
        ("model data --seed -1", "--seed -1 is out of range"),
    ],
)
@pytest.mark.usefixtures("sets")
def test_a_mistake_is_one_line_and_writes_nothing(refused, line, message):
    refused(f"evaluate difficulty {line}", message)


@pytest.mark.usefixtures("sets")
def test_without_matplotlib_a_chart_is_refused_before_any_work(refused, monkeypatch):
    monkeypatch.setattr(charts, "find_spec", {}.get)
    refused("evaluate difficulty model data --chart x.png", "--chart x.png needs matplotlib: pip")
