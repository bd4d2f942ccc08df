"""`train shards`, `train hub`, and `data` of them and of captions, as a user types them."""

import json
import shlex

import pytest

from patch_forcing.cli.main import run
from tests.support.image_files import encoded, noise, photos, samples, shard
from tests.support.tiny import SMALL_NETWORK

TINY = [*SMALL_NETWORK, "--batch-size", "4", "--log-every", "1", "--device", "cpu"]


@pytest.fixture
def saved(here):
    """Eight images of two classes, as `datasets` saves them."""
    import datasets  # slow

    datasets.disable_progress_bars()
    columns = {
        "image": [{"bytes": encoded(noise(seed=i)), "path": None} for i in range(8)],
        "label": [i % 2 for i in range(8)],
        "side": [i % 2 for i in range(8)],
    }
    kinds = datasets.ClassLabel(names=["cat", "owl"]), datasets.ClassLabel(names=["left", "right"])
    features = {"image": datasets.Image(decode=False), "label": kinds[0], "side": kinds[1]}
    data = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    data = data.cast_column("image", datasets.Image())
    datasets.DatasetDict(train=data, test=data.select(range(3))).save_to_disk("saved")
    return here


def test_shards_are_checked_trained_on_resumed_and_sampled(here, capsys):
    for number in range(2):
        shard(here / "my shards" / f"{number}.tar", samples(6, 2, 6 * number))
    shard(here / "my shards" / "2.tar", {"12.png": b"", "12.cls": b"0"})
    run(["data", "shards", "my shards/{0..2}.tar"])
    assert capsys.readouterr().out.splitlines() == [
        "13 images, 2 classes (0 7, 1 6), read as 20×20 in colour",
        "from my shards/{0..2}.tar, 3 tar files: classes by .cls, no captions",
        "bad: 1 of 13 looked at, such as my shards/2.tar/12.png: empty file",
        "bad: my shards/2.tar/12.png: empty file",
        "width: 24 to 24, median 24",
        "height: 20 to 20, median 20",
        "cropped: 12 of 12 are not square and lose at most 17 % of an image",
        "1 of 13 cannot be read: others will take their places",
        "without a GPU training starts from emoji-64 and reads them as 64×64; "
        "--init-from none: as 20×20",
        "next: patch-forcing train shards --data.path 'my shards/{0..2}.tar'",
    ]
    train = ["train", "shards", "--data.path", "my shards/{0..2}.tar", *TINY]
    run([*train, "--steps", "2"])
    run([*train, "--steps", "4"])
    printed = capsys.readouterr().out
    assert printed.startswith("13 images, 2 classes")
    assert "4 steps, resumed at 2" in printed
    assert "bad samples, replaced by others: 1, see runs/shards/bad-samples.jsonl" in printed
    run(["sample", "runs/shards", "--labels", "1", "--steps", "1", "--sampler", "euler"])
    assert (here / "samples" / "0.png").is_file()


@pytest.mark.usefixtures("saved")
def test_a_data_set_that_datasets_saved_is_checked_and_trained_on(capsys):
    run(["data", "hub", "saved", "--split", "test", "--label-column", "side"])
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "3 images, 2 classes (left 2, right 1), read as 20×20 in colour"
    assert printed[-3] == "every image can be read"
    assert printed[-2].startswith("without a GPU training starts from emoji-64")
    assert printed[-1] == (
        "next: patch-forcing train hub --data.path saved --data.split test --data.label-column side"
    )
    run([*shlex.split(printed[-1])[2:], *TINY, "--steps", "1"])  # what it says to type works
    run(["train", "hub", "--data.path", "saved", "--dry-run", "--json"])
    printed = capsys.readouterr().out
    resolved = json.loads(printed[printed.index("{\n") :])
    assert resolved["found"]["classes"] == {"cat": 4, "owl": 4}
    assert resolved["model"]["num_classes"] == 2


def test_captions_are_checked_and_what_they_are_good_for_is_said(here, capsys):
    photos(here / "mine", {"": 3})
    for file in list((here / "mine").iterdir())[1:]:
        file.with_suffix(".txt").write_text("noise")
    run(["data", "mine"])
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "3 images, with captions, read as 20×20 in colour"
    assert next(line for line in printed if line.startswith("bad: ")).endswith(".png: no caption")
    assert printed[-2].startswith("captions train a network of texts, with --network.condition")
    assert " --network.condition text" in printed[-1]
    run(["data", "mine", "--condition", "none"])
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "next: patch-forcing train folder --data.path mine --data.condition none"


def test_a_folder_called_as_a_kind_is_a_folder(here, capsys):
    photos(here / "shards", {"": 2})
    run(["data", "shards"])
    assert capsys.readouterr().out.startswith("2 images, no classes")


def test_lists_and_help_name_them(capsys):
    run(["data"])
    assert "patch-forcing data shards PATH" in capsys.readouterr().out
    run(["train", "--list"])
    printed = capsys.readouterr().out
    assert "\nshards\n  needs:   --data.path PATH: tar files" in printed
    assert "\nhub\n  needs:   --data.path OWNER/NAME" in printed
    for command in ("data hub", "data hub x", "data shards", "train shards", "train hub"):
        with pytest.raises(SystemExit) as end:
            run([*command.split(), "--help"])
        assert end.value.code == 0
        printed = capsys.readouterr().out
        assert "condition" in printed
        assert ("split" in printed) == ("hub" in command)


WRONG = {
    "data shards": "data shards: its path is missing: data shards PATH",
    "data hub --split test": "data hub: the path comes first: data hub PATH --split",
    "data shards x.tar --split test": "unknown option '--split'",
    "data shards nowhere": "data.path=nowhere: nowhere is not there: give tar files, or a folder",
    "data x.tar": "x.tar is a file: give the folder of images; for tar files: train shards, data",
    "data tars": "tars holds no images: give a folder; for tar files: train shards, data shards",
    "data hub nowhere": "data.path=nowhere is not there: give a folder, or OWNER/NAME on the Hub",
    "data shards x.tar --condition class": "no image of x.tar has a label: choose none",
    "data shards x.tar --condition klass": "invalid choice 'klass'",
    "train shards": "data.path is not given: add --data.path PATH, tar files in a folder",
    "train shards --data.path x.tar --data.size 30": "data.size=30 does not fit",
    "train shards --data.path x.tar --data.split a": "unknown option '--data.split'",
    "train hub": "data.path is not given: add --data.path OWNER/NAME, or a folder",
    "train hub --data.path tars --data.max-bad-share 7": "data.max_bad_share=7.0 is out of range",
    "train folder --data.path captions": "captions comes with captions: add --network",
    "train folder --data.path captions --dry-run": "captions comes with captions: add --network",
    "train folder --data.path few": "only 1 of 3 images of few have a caption: add the others, or",
    "train folder --data.path rows": "rows/metadata.jsonl: it names no images",
}


@pytest.mark.parametrize("line", WRONG)
def test_a_mistake_ends_in_one_line_with_status_2_and_writes_nothing(here, refused, line):
    shard(here / "x.tar", samples(3))
    shard(here / "tars" / "x.tar", samples(3))
    for name, count in (("captions", 1), ("few", 3)):
        photos(here / name, {"": count})
        (here / name / "000.txt").write_text("noise")
    (here / "rows").mkdir()
    (here / "rows" / "metadata.jsonl").write_text("\n")
    refused(line, WRONG[line])
