"""`train folder` and `data FOLDER` as a user types them."""

import json
import re
import shlex

import numpy as np
import pytest
import torch
from PIL import Image

from patch_forcing.cli.main import run
from patch_forcing.data.sources import FolderSource
from patch_forcing.runs.recipe import Network, fitting_patch
from tests.support.image_files import photos
from tests.support.tiny import SMALL_NETWORK

TINY = [*SMALL_NETWORK, "--batch-size", "4", "--log-every", "1", "--device", "cpu"]


def test_twelve_images_of_two_classes_train_resume_and_sample_by_name(here, capsys):
    photos(here / "my photos", {"cat": 7, "3": 5})
    (here / "my photos" / "cat" / "000.png").write_bytes(b"")
    train = ["train", "folder", "--data.path", "my photos", *TINY]
    run([*train, "--steps", "1"])
    run([*train, "--steps", "3"])
    message = capsys.readouterr().out
    assert message.startswith("12 images, 2 classes (3 5, cat 7), read as 20×20 in colour\n")
    assert "3 steps, resumed at 1" in message
    assert "bad samples, replaced by others: 1, see runs/folder/bad-samples.jsonl\n" in message
    assert "next: patch-forcing sample runs/folder --labels 3,cat --count 8\n" in message
    run(["sample", "runs/folder", "--labels", "cat,3,1", "--steps", "1", "--sampler", "euler"])
    rows = json.loads((here / "samples" / "samples.json").read_text())
    assert [row["label"] for row in rows] == [1, 0, 1]  # a class called 3 is meant by 3
    with Image.open(here / "samples" / "0.png") as image:
        assert (image.size, image.mode) == ((20, 20), "RGB")


def test_twelve_images_without_classes_train_and_sample(here, capsys):
    photos(here / "mine", {"": 12})
    run(["train", "folder", "--data.path", "mine", *TINY, "--steps", "2", "--out", "out"])
    message = capsys.readouterr().out
    assert message.startswith("12 images, no classes, read as 20×20 in colour\n")
    assert "bad" not in message
    command = message.splitlines()[-1].removeprefix("next: patch-forcing ")
    assert command == "sample out --count 8"
    run([*shlex.split(command), "--steps", "1"])
    assert (here / "samples" / "7.png").is_file()


def test_a_dry_run_prints_what_was_found_and_writes_nothing(here, capsys):
    photos(here / "mine", {"cat": 2, "owl": 1}, size=(70, 90))
    run(["train", "folder", "--data.path", "mine", "--dry-run", "--json"])
    resolved = json.loads(capsys.readouterr().out)
    assert resolved["recipe"]["data"]["path"] == "mine"
    assert {**resolved["found"], "names": "", "contents": ""} == {
        "images": 3, "classes": {"cat": 2, "owl": 1}, "size": 64, "channels": 3, "names": "",
        "contents": "",
    }  # fmt: skip
    assert resolved["model"]["patch_size"] == 8
    assert resolved["model"]["num_classes"] == 2
    assert [file.name for file in here.iterdir()] == ["mine"]


def test_a_dry_run_says_the_same_time_as_the_plan(here, capsys):
    photos(here / "mine", {"": 3})
    run(["train", "folder", "--data.path", "mine", *TINY, "--dry-run", "--minutes", "1"])
    printed = capsys.readouterr()
    (planned,) = re.findall(r", (\d+ s) with all that belongs .* fit into 1 minute:", printed.err)
    assert f" in about {planned} on " in printed.out
    run(["train", "folder", "--data.path", "mine", *TINY, "--dry-run", "--minutes", "1e-6"])
    printed = capsys.readouterr()
    (planned,) = re.findall(r", (\d+ s) with all that .* more than fit into 1e-06", printed.err)
    assert "20 steps of 4 images" in printed.out
    assert f" in about {planned} on " in printed.out


def test_the_list_names_the_recipe_and_help_its_options(capsys):
    run(["train", "--list"])
    assert "\nfolder\n  needs:   --data.path DIR" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        run(["train", "folder", "--help"])
    message = capsys.readouterr().out
    for option in ("--data.path", "--data.size", "--data.fit", "--data.no-flip"):
        assert option in message


@pytest.mark.parametrize(
    ("sides", "patch"),
    [((64, 64), 8), ((32, 32), 4), ((28, 28), 4), ((16, 16), 2), ((8, 8), 1), ((256, 256), 8),
     ((100, 100), 5), ((64, 96), 8), ((61, 61), 1)],
)  # fmt: skip
def test_a_patch_suits_the_size(sides, patch):
    assert fitting_patch(*sides) == patch


def test_a_patch_may_be_chosen(tmp_path):
    data = FolderSource(str(photos(tmp_path, {"": 1}))).open()
    assert Network(None, 16, 1, 2).config(data).patch_size == 2
    assert Network(5, 16, 1, 2).config(data).patch_size == 5


def test_a_sound_folder_is_described(here, capsys):
    photos(here / "my photos", {"cat": 2, "owl": 1})
    photos(here / "my photos", {"yak": 1}, size=(30, 50))
    before = sorted(here.rglob("*"))
    run(["data", "my photos"])
    assert capsys.readouterr().out.splitlines() == [
        "4 images, 3 classes (cat 2, owl 1, yak 1), read as 20×20 in colour",
        "from my photos: classes by folder, no captions",
        "width: 24 to 50, median 24",
        "height: 20 to 30, median 20",
        "cropped: 4 of 4 are not square and lose at most 40 % of an image",
        "every image can be read",
        "without a GPU training starts from emoji-64 and reads them as 64×64; "
        "--init-from none: as 20×20",
        "next: patch-forcing train folder --data.path 'my photos'",
    ]
    assert sorted(here.rglob("*")) == before


def test_a_sheet_shows_sixteen_images_as_training_will_see_them(here, capsys):
    photos(here / "mine", {"cat/tabby": 9, "cat/grey": 2, "owl": 9}, size=(12, 16))
    run(["data", "mine", "--size", "32", "--out", "look"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("20 images, 2 classes (cat 11, owl 9), read as 32×32")
    assert "enlarged: 20 of 20 are smaller than 32×32, the smallest 2.67 times" in lines
    assert "cropped: 20 of 20 are not square and lose at most 25 % of an image" in lines
    assert lines[-2:] == [
        "as training will see them: look/sheet.png",
        "next: patch-forcing train folder --data.path mine --data.size 32",
    ]
    first = (here / "look" / "sheet.png").read_bytes()
    run(["data", "mine", "--data.size", "32", "--out", "look"])  # as training calls it
    assert (here / "look" / "sheet.png").read_bytes() == first
    data = FolderSource("mine", size=32).open()
    with Image.open(here / "look" / "sheet.png") as sheet:
        tile = sheet.crop((6, 6, 6 + 96, 6 + 96)).resize((32, 32), Image.Resampling.NEAREST)
    shown = torch.from_numpy(np.array(tile)).permute(2, 0, 1)
    assert shown.equal(((data.picture(0) + 1) * 127.5).round().byte())


def test_a_folder_for_each_image_is_pointed_out(here, capsys):
    photos(here / "mine", {"a": 1, "b": 1, "c": 1})
    run(["data", "mine"])
    message = "3 classes for 3 images: if they are none, add --data.condition none"
    assert message in capsys.readouterr().out.splitlines()


def test_what_cannot_be_read_is_named_and_counted(here, capsys):
    photos(here / "mine", {"": 12})
    (here / "mine" / "empty.png").write_bytes(b"")
    (here / "mine" / "short.png").write_bytes((here / "mine" / "000.png").read_bytes()[:600])
    run(["data", "mine"])
    message = capsys.readouterr().out.splitlines()
    assert message[0] == "14 images, no classes, read as 20×20 in colour"
    assert message[1:3] == [
        "from mine: no classes, no captions",
        "bad: 2 of 14 looked at, such as mine/empty.png: empty file",
    ]
    assert message[3] == "bad: mine/empty.png: empty file"
    assert message[4].startswith("bad: mine/short.png: ")
    assert message[-3:] == [
        "2 of 14 cannot be read: others will take their places",
        "without a GPU training starts from emoji-64 and reads them as 64×64; "
        "--init-from none: as 20×20",
        "next: patch-forcing train folder --data.path mine",
    ]


def test_too_many_that_cannot_be_read_are_said_to_be_too_many(here, capsys):
    photos(here / "mine", {"": 12})
    for i in range(11):
        (here / "mine" / f"{i:03d}.png").write_bytes(b"")
    run(["data", "mine"])
    message = capsys.readouterr().out
    assert "11 of 12 cannot be read, too many: remove them, or let it pass\n" in message
    last = message.splitlines()[-1]
    assert last.endswith("train folder --data.path mine --data.max-bad-share 1")
    run([*shlex.split(last)[2:], *TINY, "--steps", "1"])  # what it says to type works


WRONG = {
    "train folder": "data.path is not given: add --data.path DIR, a folder of images",
    "train folder --dry-run": "data.path is not given: add --data.path DIR",
    "train folder --data.path nowhere": "nowhere is not there: give a folder of images",
    "train folder --data.path nowhere --dry-run": "nowhere is not there",
    "train folder --data.path notes.txt": "notes.txt is a file: give the folder of images",
    "train folder --data.path empty": "empty holds no images: give a folder of .png",
    "train folder --data.path mixed": "mixed/1.png lies beside folders of images, such as cat: ",
    "train folder --data.path deep --data.depth 3": "lie 2 folders deep at most, such as deep/a/b/",
    "train folder --data.path deep --data.depth -1": "data.depth=-1 is out of range",
    "train folder --data.path good --data.depth 2": "images of good lie in no folder, such as good",
    "train folder --data.path bad": "no image of bad can be read, such as bad/1.png: no image",
    "train folder --data.path good --data.size 30": "data.size=30 does not fit: choose a multiple",
    "train folder --data.path good --data.size big": "--data.size",
    "train folder --data.path good --data.channels 4": "--data.channels",
    "train folder --data.path good --data.fit squeeze": "invalid choice 'squeeze'",
    "train folder --data.path good --data.max-bad-share 2": "data.max_bad_share=2.0",
    "train folder --data.path good --network.patch-size 7": "not divisible by patch size 7",
    "train folder --data.pth good": "did you mean '--data.path'",
    "train foldr --data.path good": "did you mean 'folder'",
    "data nowhere": "there is no folder nowhere",
    "data notes.txt": "notes.txt is a file: give the folder of images",
    "data empty": "empty holds no images",
    "data bad": "no image of bad can be read",
    "data good more": "'more' is one argument too many",
    "data good --out notes.txt": "notes.txt is a file: name a folder",
    "data good --out theirs": "theirs/sheet.png is there and not of this command: name another",
    "data good --size 30": "data.size=30 does not fit",
    "data shards good --depth 2": "unknown option '--depth'",
}


@pytest.mark.parametrize("line", WRONG)
def test_a_mistake_ends_in_one_line_with_status_2_and_writes_nothing(here, refused, line):
    photos(here / "good", {"": 1})
    photos(here / "mixed", {"cat": 1})
    files = ("mixed/1.png", "deep/a/b/1.png", "bad/1.png", "notes.txt", "empty/notes.txt")
    for name in (*files, "theirs/sheet.png"):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text("text")
    refused(line, WRONG[line])
