"""How `sample --labels` is read, whatever classes are called."""

import json

import pytest
from PIL import Image

import patch_forcing as pf
from patch_forcing.cli.main import run
from tests.support.exact import tiny_dit

NAMES = ("tench, Tinca tinca", "cat", " owl ", "cat,owl", "7,8", "1-2", "10", " cat")


@pytest.fixture
def sampled(tmp_path):
    """The labels of the images that --labels gives, of a model of these classes."""
    model = tiny_dit(num_classes=len(NAMES))
    model.data_info = pf.DataInfo(class_names=NAMES)
    model.save(tmp_path / "model")

    def sample(labels: str) -> list[int]:
        out = tmp_path / "samples"
        args = ["--labels", labels, "--sampler", "euler", "--steps", "1", "--out", str(out)]
        run(["sample", str(tmp_path / "model"), *args])
        return [row["label"] for row in json.loads((out / "samples.json").read_text())]

    return sample


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("tench, Tinca tinca", [0]),
        ("cat , tench, Tinca tinca , 4", [1, 0, 4]),
        ("owl", [2]),
        (" owl ,owl", [2, 2]),
        ("cat,owl", [3]),
        ("cat, owl", [1, 2]),
        ("7,8", [4]),
        ("7,1-2,0-1,10", [7, 5, 0, 1, 6]),
        (" cat,cat", [7, 1]),
        ("cat,owl,cat", [3, 1]),
    ],
)
def test_names_may_hold_commas_and_spaces_at_their_ends(sampled, text, labels):
    assert sampled(text) == labels


@pytest.mark.parametrize("text", ["tench", "Tinca tinca", "cat,,owl", "cat,"])
def test_a_part_of_a_name_or_nothing_is_no_class(sampled, text):
    with pytest.raises(pf.UserError, match="unknown class"):
        sampled(text)


def test_precision_is_recorded_and_fp8_needs_a_gpu(tmp_path):
    tiny_dit().save(tmp_path / "model")
    out = tmp_path / "samples"
    args = ["sample", str(tmp_path / "model"), "--steps", "2", "--out", str(out), "--precision"]
    run([*args, "bf16"])
    assert json.loads((out / "samples.json").read_text())[0]["precision"] == "bf16"
    with pytest.raises(pf.UserError, match="fp8 on cpu: choose bf16"):
        run([*args, "fp8", "--device", "cpu"])


def test_processes_share_an_array_of_all_classes(tmp_path, monkeypatch, capsys):
    tiny_dit().save(tmp_path / "model")
    line = ["sample", str(tmp_path / "model"), "--labels", "all", "--seeds", "1-13", "--steps", "1"]
    line += ["--shard-size", "4", "--no-pngs", "--device", "cpu", "--out"]
    for world in (1, 3):
        monkeypatch.setenv("WORLD_SIZE", str(world))
        folder = tmp_path / str(world)
        for rank in range(world):
            monkeypatch.setenv("RANK", str(rank))
            run([*line, str(folder), "--npz", str(folder / "a.npz")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("1 evaluation is few")
    assert lines[1].startswith("13 images in 4 shards")
    assert "other processes have shards to make" in lines[-4]
    assert lines[-2] == f"13 images with 1 evaluation each: {tmp_path / '3' / 'a.npz'}"
    assert (tmp_path / "1" / "a.npz").read_bytes() == (tmp_path / "3" / "a.npz").read_bytes()
    names = {file.name for file in (tmp_path / "3").iterdir()}
    assert names == {"a.npz", "sheets", "samples.json"}
    rows = json.loads((tmp_path / "3" / "samples.json").read_text())
    assert [(row["seed"], row["label"]) for row in rows] == [(s, s % 5) for s in range(1, 14)]


def test_few_evaluations_are_said_and_a_film_lies_beside_the_sheet(tmp_path, capsys):
    tiny_dit().save(tmp_path / "model")
    line = ["sample", str(tmp_path / "model"), "--labels", "0,1", "--device", "cpu"]
    line += ["--sampler", "euler", "--film"]
    for number, how in enumerate(([], ["--npz", f"{tmp_path}/a.npz"])):
        out = tmp_path / str(number)
        run([*line, *how, "--steps", "2", "--out", str(out)])
        few, images, others = capsys.readouterr().out.splitlines()
        assert few == "2 evaluations are few, and images may be blurred: take --nfe 6 or more"
        assert images.startswith("2 images with 2 evaluations each")
        assert images.endswith(f"{out}/0.png to 1.png")
        sheets, record = f"{out}/sheets/sheet.png, with film.gif", f"{out}/samples.json"
        assert others == f"side by side: {sheets}; how each was made: {record}"
        assert {file.name for file in (out / "sheets").iterdir()} == {"sheet.png", "film.gif"}
        with Image.open(out / "sheets" / "film.gif") as film:
            assert film.n_frames == 3  # of level times: both evaluations, and the result
    run([*line[:-1], "--steps", "6", "--out", str(tmp_path / "0")])
    assert "are few" not in capsys.readouterr().out
    assert {file.name for file in (tmp_path / "0" / "sheets").iterdir()} == {"sheet.png"}


def test_a_class_called_all_is_that_class_and_none_is_an_error(tmp_path):
    for names, seen in ((("all", "b"), [0]), ((), [0, 1])):
        model = tiny_dit(num_classes=2)
        model.data_info = pf.DataInfo(class_names=names)
        model.save(tmp_path / "model")
        out = tmp_path / "out"
        run(
            [
                "sample",
                str(tmp_path / "model"),
                "--labels",
                "all",
                "--steps",
                "1",
                "--out",
                str(out),
            ]
        )
        assert [row["label"] for row in json.loads((out / "samples.json").read_text())] == seen
    tiny_dit(num_classes=0).save(tmp_path / "model")
    with pytest.raises(pf.UserError, match=r"--labels all: .* has no classes: leave it out"):
        run(["sample", str(tmp_path / "model"), "--labels", "all", "--out", str(tmp_path / "no")])
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("ranks", "options", "message"),
    [
        ({}, "--no-pngs", "--no-pngs without --npz keeps no images: add --npz FILE"),
        ({}, "--npz a.npz --shard-size 0", "shard_size=0 is out of range"),
        ({"RANK": "1", "WORLD_SIZE": "2"}, "", "2 processes share the images of --npz only"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "--npz a.npz", "RANK=2 of WORLD_SIZE=2 does not exist"),
        ({"RANK": "1"}, "--npz a.npz", "RANK=1 without a WORLD_SIZE"),
        ({"RANK": "x", "WORLD_SIZE": "2"}, "--npz a.npz", "RANK=x"),
    ],
)
def test_mistakes_of_several_processes(tmp_path, monkeypatch, ranks, options, message):
    monkeypatch.chdir(tmp_path)
    for name, value in ranks.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(pf.UserError, match=message):
        run(["sample", "digits", "--labels", "3", "--seeds", "0-3", *options.split()])
    assert list(tmp_path.iterdir()) == []
