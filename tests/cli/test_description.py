"""What is said of data before training, in five lines at most, by every command alike."""

import json

import pytest

from patch_forcing.cli.main import run
from tests.support.image_files import photos, samples, shard
from tests.support.tiny import SMALL_NETWORK

TINY = [*SMALL_NETWORK, "--batch-size", "4", "--log-every", "1", "--device", "cpu"]


def fill(here):
    """Of everything something."""
    photos(here, {"cat": 3, "train": 2})
    (here / "cat" / "000.png").write_bytes(b"")
    (here / "cat" / "001.txt").write_text("a cat")
    (here / "cat" / "001.xml").write_text("<a/>")
    (here / "owl").mkdir()
    (here / "owl" / "1.heic").write_bytes(b"x")
    (here / ".DS_Store").write_bytes(b"x")
    return [
        "5 images, 2 classes (cat 3, train 2), read as 20×20 in colour",
        "from .: classes by folder, no captions (by 1 .txt beside images with --data.condition "
        "caption)",
        "left aside: 1 .heic, 1 .txt, 1 .xml; hidden or of the system: 1; no image in owl; "
        "bad: 1 of 5 looked at, such as cat/000.png: empty file",
        "not read: 1 .xml beside images (.txt, .caption, .cls and .json are read)",
        "in doubt: train is taken for a class: give train if it is a split",
    ]


def test_five_lines_say_what_a_user_can_check(here, capsys):
    lines = fill(here)
    run(["data", "."])
    assert capsys.readouterr().out.splitlines()[:5] == lines
    run(["train", "folder", "--data.path", ".", *TINY, "--dry-run", "--json"])
    assert json.loads(capsys.readouterr().out)["description"] == lines
    run(["train", "folder", "--data.path", ".", *TINY, "--steps", "1", "--data.max-bad-share", "1"])
    assert capsys.readouterr().out.splitlines()[:5] == lines


@pytest.mark.parametrize("classes", [{"cat": 4, "owl": 4}, {"": 8}])
def test_a_run_in_the_folder_of_its_images_goes_on_and_may_be_begun_again(here, capsys, classes):
    photos(here, classes)
    train = ["train", "folder", "--data.path", ".", *TINY]
    run([*train, "--steps", "1"])
    before = json.loads((here / "runs" / "folder" / "run.json").read_text())["found"]
    capsys.readouterr()
    run([*train, "--steps", "2"])
    printed = capsys.readouterr().out
    assert "outputs of patch-forcing: runs/folder (a run)\n" in printed
    assert "2 steps, resumed at 1" in printed
    run(["sample", "runs/folder", "--steps", "1", "--sampler", "euler"])
    run(["sample", "runs/folder", "--steps", "1", "--sampler", "euler", "--out", "cat/mine"])
    run([*train, "--steps", "1", "--out", "other"])
    result = json.loads((here / "other" / "run.json").read_text())["found"]
    assert result == before
    assert result["images"] == 8
    run(["data", "."])
    assert "outputs of patch-forcing: cat/mine (samples), other (a run), runs/folder (a run), " in (
        capsys.readouterr().out
    )


def test_shards_say_it_too(here, capsys):
    shard(here / "x.tar", samples(4, 2) | {"0009.png": b"", "0009.npy": b"x"})
    run(["train", "shards", "--data.path", "x.tar", *TINY, "--dry-run", "--json"])
    assert json.loads(capsys.readouterr().out)["description"] == [
        "5 images, 2 classes (0 2, 1 2), read as 20×20 in colour",
        "from x.tar, 1 tar file: classes by .cls, no captions",
        "left aside: 1 .npy; bad: 1 of 5 looked at, such as x.tar/0009.png: no label",
    ]
