"""train and test are parts of a data set, not classes."""

import pytest

import patch_forcing as pf
from patch_forcing.data.folder_layout import find_images
from patch_forcing.data.splits import Split, split_of, splits_among
from tests.support.image_files import photos


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", Split(True, ())), ("TEST", Split(False, ())), ("Validation", Split(False, ())),
        ("train2017", Split(True, ())), ("test_images", Split(False, ())),
        ("seg_train", Split(True, ("seg",))), ("trainA", Split(True, ("a",))),
        ("training-set", Split(True, ())), ("trainval", Split(True, ())),
        ("trains", None), ("testament", None), ("cat", None), ("invalid", None), ("00000", None),
    ],
)  # fmt: skip
def test_what_name_means_a_split(name, split):
    assert split_of(name) == split


SPLITS = [
    ["train"], ["val"], ["test", "train"], ["TEST", "Train"], ["training", "validation"],
    ["test_set", "train_set"], ["seg_test", "seg_train"], ["testA", "testB", "trainA", "trainB"],
    ["test2017", "train2017", "val2017"],
]  # fmt: skip


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("names", SPLITS)
def test_splits_are_refused_with_the_one_to_give(tmp_path, names, deep):
    photos(tmp_path, {f"{name}/cat" if deep else name: 1 for name in names})
    best = next((name for name in names if "rain" in name), names[0])
    assert splits_among(names)[0] == best
    message = rf"holds the splits? .*{best}.*, no classes: give .*, --data\.path .*/{best}$"
    with pytest.raises(pf.UserError, match=message):
        find_images(tmp_path)
    assert len(find_images(tmp_path / best).names) == 1


def test_beside_others_they_are_refused_and_it_is_said_how_to_go_on(tmp_path):
    photos(tmp_path, {"train": 1, "test": 1, "car": 1})
    with pytest.raises(pf.UserError, match=r"or rename what is a class, as car may be$"):
        find_images(tmp_path)


CLASSES = {
    ("bus", "car", "train"): "train is taken for a class: give {}/train if it is a split",
    ("invalid", "valid"): "valid is taken for a class: give {}/valid if it is a split",
    ("test_negative", "test_positive"): "",
    ("planes", "trains"): "",
    ("samples", "runs"): "",
    ("00000", "00001"): (
        "00000, 00001 may be parts, no classes: --data.condition none, or caption"
    ),
    ("000", "001"): "",
    ("images", "masks"): "images, masks are taken for classes: give {}/images if they are none",
    ("cat",): "cat is the only class: give {}/cat if it is none",
}


@pytest.mark.parametrize("names", CLASSES)
def test_what_may_be_classes_is_taken_for_them_and_the_doubt_is_named(tmp_path, names):
    layout = find_images(photos(tmp_path, dict.fromkeys(names, 1)))
    assert layout.class_names == tuple(sorted(names))
    assert layout.notes.doubt == CLASSES[names].format(tmp_path)


def test_a_table_of_all_splits_is_read_and_one_of_each_is_not(tmp_path):
    photos(tmp_path, {"train": 1, "test": 1})
    row = '{"file_name": "%s000.png", "label": 1}'
    for name in ("train", "test"):
        (tmp_path / name / "metadata.jsonl").write_text(row % "")
    with pytest.raises(pf.UserError, match="holds the splits train, test, no classes"):
        find_images(tmp_path)
    for name in ("train", "test"):
        (tmp_path / name / "metadata.jsonl").unlink()
    rows = [row % "train/", row % "test/"]
    (tmp_path / "metadata.jsonl").write_text("\n".join(rows))
    layout = find_images(tmp_path)
    assert layout.names == ("test/000.png", "train/000.png")
    assert layout.notes.doubt == "train, test are taken together"
