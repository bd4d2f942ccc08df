"""No command writes over files of others; what it wrote itself is replaced."""

import json
from pathlib import Path

import pytest
from PIL import Image

import patch_forcing as pf
from patch_forcing.cli.main import run
from patch_forcing.io.image_file import is_own_image, save_image
from tests.support.compilers import hide_compilers
from tests.support.exact import tiny_dit
from tests.support.image_files import GIF, PNG

TRAIN = "train digits --steps 1 --network.hidden-size 16 --network.depth 1 --network.num-heads 2"
TRAIN += " --batch-size 4 --device cpu --sample-every 0 --out"
SAMPLERS = "bench samplers model --samplers euler --nfe 2 --images 2 --device cpu --out"
SPEED = "bench speed model --batch-size 1 --calls 4 --seconds 0 --device cpu --out"
MODEL = {"config.json": b'{"hidden_size": 768}', "model.safetensors": b"weights"}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny_dit(predict_difficulty=True).save(tmp_path / "model")
    return tmp_path


@pytest.mark.parametrize(
    ("line", "files"),
    [
        ("demo --model digits --out mine", {"sheet.png": PNG}),
        ("demo --model digits --out mine", {"maps.png": PNG}),
        ("demo --model digits --out mine", {"film.gif": GIF}),
        ("demo --model digits --out mine", {"film.gif": b"no image"}),
        (f"{SAMPLERS} mine/a.json", {"a.json": b'{"points": []}'}),
        (f"{SAMPLERS} mine/a.json", {"a.png": PNG}),
        (f"{SPEED} mine/a.json", {"a.json": b"[1]"}),
        ("convert model --to published --out mine/a.safetensors", {"a.safetensors": b"x"}),
        ("bench grid model --images 1 --steps 8 --out mine", MODEL),
        (f"{TRAIN} mine", {"run.json": b'{"name": "mine"}', "metrics.jsonl": b"1"}),
        (f"{TRAIN} mine", {"run.json": b"mine"}),
        (f"{TRAIN} mine", {"metrics.jsonl": b"1"}),
        ("data emoji --out mine", {"atlas.png": PNG, "manifest.json": b"{}"}),
        ("data emoji --out mine", {"atlas.png": PNG}),
        ("encode photos --autoencoder pixels --size 8 --out mine", {"latents.json": b"{}"}),
    ],
)
def test_files_of_others_stay(here, line, files):
    if line.startswith("encode"):
        (here / "photos").mkdir()
        (here / "photos" / "0.png").write_bytes(PNG)
    if line.startswith("data emoji"):
        line += " --font font.ttf --emoji-test list.txt"
        for name in ("font.ttf", "list.txt"):
            (here / name).write_bytes(b"x")
    if "samplers" in line and "a.png" in files:
        pytest.importorskip("matplotlib")
    (here / "mine").mkdir()
    for name, data in files.items():
        (here / "mine" / name).write_bytes(data)
    with pytest.raises(pf.UserError, match=r"name|choose another"):
        run(line.split())
    assert {file.name: file.read_bytes() for file in (here / "mine").iterdir()} == files


@pytest.mark.parametrize(
    "line",
    [
        "demo --model digits --out mine",
        f"{SAMPLERS} mine/a.json",
        f"{SPEED} mine/a.json",
        "bench grid model --images 1 --steps 8 --out mine",
    ],
)
def test_what_a_command_wrote_it_replaces(here, line):
    for _ in range(2):
        run(line.split())
    assert (here / "mine").is_dir()


def test_an_image_says_what_drew_it_and_is_whole_or_as_before(tmp_path):
    image = Image.new("RGB", (3, 2), (1, 2, 3))
    for name in ("a.png", "a.gif"):
        save_image(image, tmp_path / name)
        assert is_own_image(tmp_path / name)
        image.save(tmp_path / name)
        assert not is_own_image(tmp_path / name)
        before = (tmp_path / name).read_bytes()
        # Pillow 11 says it by a SystemError
        with pytest.raises((ValueError, SystemError), match=r"empty|outside"):
            save_image(Image.new("RGB", (0, 0)), tmp_path / name, interlace=1)
        assert (tmp_path / name).read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.gif", "a.png"]


def test_a_run_that_got_to_no_checkpoint_is_begun_again(here):
    (here / "mine").mkdir()
    record = {"name": "digits", "recipe": {}}
    Path("mine/run.json").write_text(json.dumps(record))
    run(f"{TRAIN} mine".split())
    assert list((here / "mine" / "checkpoints").iterdir())


@pytest.mark.parametrize(
    ("line", "mend"),
    [
        ("sample model --labels 3 --compile --out s", "leave out --compile"),
        ("bench speed model --compile True --out s.json", "add --compile False"),
        ("train digits --compile --out run", "add --no-compile"),
    ],
)
def test_without_a_compiler_nothing_is_begun(here, refused, monkeypatch, line, mend):
    hide_compilers(monkeypatch, here)
    refused(line, f"install g++ and Python's headers (apt install g++ python3-dev), or {mend}\n")
