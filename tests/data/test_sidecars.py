"""Files beside an image, in folders and in tar files by one rule."""

import io
import json

import pytest

import patch_forcing as pf
from patch_forcing.data.folder_layout import find_images
from patch_forcing.data.shards import find_shards
from patch_forcing.data.sidecars import role
from patch_forcing.data.tar_index import index_tar
from tests.support.image_files import encoded, noise, photos, shard

PNG = encoded(noise())
KINDS = {
    "caption": ("txt", "TXT", "caption", "cap", "text", "prompt", "description", "caption.txt"),
    "label": ("cls", "label", "class", "category", "class_name", "label.txt"),
}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        *((kind, what) for what, kinds in KINDS.items() for kind in kinds),
        ("png.txt", "caption"), ("json", "json"), ("JSON", "json"), ("png.json", None),
        ("xml", None), ("seg.png", None), ("a.b.txt", None), ("", None), ("tags", None),
    ],
)  # fmt: skip
def test_the_kind_says_what_a_file_holds(kind, expected):
    assert role(kind) == expected


def beside(root, kind, texts, encoding="utf-8"):
    """Images, each with a file of this kind; in a folder and in a tar."""
    photos(root / "folder", {"": len(texts)})
    members = []
    for i, text in enumerate(texts):
        (root / "folder" / f"{i:03d}.{kind}").write_bytes(text.encode(encoding))
        members += [(f"{i:03d}.png", PNG), (f"{i:03d}.{kind}", text.encode(encoding))]
    shard(root / "tars" / "x.tar", members)
    return find_images(root / "folder"), find_shards(str(root / "tars"))


@pytest.mark.parametrize("kind", KINDS["caption"])
def test_captions_are_read_in_folders_and_shards_alike(tmp_path, kind):
    folder, shards = beside(tmp_path, kind, ["a cat", " an owl\n"])
    assert folder.captions == shards.captions == ("a cat", "an owl")
    assert folder.condition == shards.condition == "caption"
    place = tmp_path / "folder"
    by = f"2 .{kind.lower()} beside images"
    assert folder.notes == (f"from {place}: no classes, captions by {by}", "", "", "")
    place = f"{tmp_path / 'tars'}, 1 tar file"
    assert shards.notes == (f"from {place}: no classes, captions by .{kind.lower()}", "", "", "")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
@pytest.mark.parametrize(("kind", "form"), [("txt", "{}"), ("json", '{{"text": "{}"}}')])
def test_texts_may_begin_with_a_mark_of_byte_order(tmp_path, kind, form, encoding):
    for layout in beside(tmp_path, kind, [form.format("ein Bär"), form.format("猫")], encoding):
        assert layout.captions == ("ein Bär", "猫")


@pytest.mark.parametrize("kind", KINDS["label"])
def test_so_are_labels(tmp_path, kind):
    folder, shards = beside(tmp_path, kind, ["10", "9\n", "10"])
    assert folder.class_names == shards.class_names == ("9", "10")
    assert folder.labels == shards.labels == (1, 0, 1)
    assert folder.notes.source.endswith(f": classes by 3 .{kind} beside images, no captions")
    assert shards.notes.source.endswith(f": classes by .{kind}, no captions")


def test_names_are_labels_but_in_cls(tmp_path):
    for layout in beside(tmp_path / "one", "label", ["cat", "owl"]):
        assert layout.class_names == ("cat", "owl")
    with pytest.raises(pf.UserError, match=r"its \.cls is no whole number \(for a name: \.label\)"):
        beside(tmp_path / "two", "cls", ["cat", "owl"])


def test_json_holds_either_and_single_texts_say_more_precisely(tmp_path):
    text = json.dumps({"class_name": "cat", "prompt": "a cat"})
    for layout in beside(tmp_path, "json", [text, text]):
        assert (layout.class_names, layout.captions) == (("cat",), ("a cat", "a cat"))
    for i in range(2):
        (tmp_path / "folder" / f"00{i}.txt").write_text(f"cat {i}")
    assert find_images(tmp_path / "folder").captions == ("cat 0", "cat 1")


def test_two_captions_that_differ_are_none_and_two_that_agree_are_one(tmp_path):
    photos(tmp_path, {"": 4})
    for i in range(4):
        (tmp_path / f"00{i}.txt").write_text("a cat")
        (tmp_path / f"00{i}.caption").write_text("a cat" if i else "an owl")
    layout = find_images(tmp_path)
    assert layout.captions == ("", "a cat", "a cat", "a cat")
    assert layout.faults == {0: "its .caption and .txt differ"}
    assert layout.notes.source.endswith("captions by 4 .caption, 4 .txt beside images")


def test_labels_of_most_images_count_more_than_their_folders(tmp_path):
    photos(tmp_path, {"00000": 2, "00001": 2})
    (tmp_path / "00000" / "000.cls").write_text("3")
    few = find_images(tmp_path)
    assert few.class_names == ("00000", "00001")
    assert few.notes.unread == "1 .cls beside images (too few have a label)"
    (tmp_path / "00001" / "000.cls").write_text("5")
    half = find_images(tmp_path)
    assert half.class_names == ("3", "5")
    assert half.faults == {1: "no label", 3: "no label"}


def test_captions_beside_images_of_classes_are_offered(tmp_path):
    photos(tmp_path, {"cat": 2, "owl": 2})
    (tmp_path / "cat" / "000.caption").write_text("a cat")
    layout = find_images(tmp_path)
    assert layout.class_names == ("cat", "owl")
    assert layout.notes.source == (
        f"from {tmp_path}: classes by folder, "
        "no captions (by 1 .caption beside images with --data.condition caption)"
    )


@pytest.mark.parametrize("kind", ["xml", "yaml", "tags", "png.json", "png.mine.json", "mine"])
def test_files_of_other_kinds_beside_images_are_named(tmp_path, kind):
    photos(tmp_path, {"": 2})
    (tmp_path / f"000.{kind}").write_text("x")
    assert find_images(tmp_path).notes.unread == (
        f"1 .{kind} beside images (.txt, .caption, .cls and .json are read)"
    )


@pytest.mark.parametrize("kind", ["npy", "mp4", "heic", "zip"])
def test_but_not_those_that_hold_no_text(tmp_path, kind):
    photos(tmp_path, {"": 2})
    (tmp_path / f"000.{kind}").write_text("x")
    assert find_images(tmp_path).notes.unread == ""


def test_names_that_differ_in_capitals_are_of_the_same_image_if_it_is_alone(tmp_path):
    photos(tmp_path, {"": 2})
    for old, new in (("000.png", "IMG.png"), ("001.png", "two.png")):
        (tmp_path / old).rename(tmp_path / new)
    for name in ("img.txt", "Two.TXT"):
        (tmp_path / name).write_text(name)
    assert find_images(tmp_path).captions == ("img.txt", "Two.TXT")
    (photos(tmp_path, {"": 1}) / "000.png").rename(tmp_path / "Img.png")
    assert find_images(tmp_path, "none").names == ("IMG.png", "Img.png", "two.png")
    assert find_images(tmp_path, "caption").captions == ("", "", "Two.TXT")


def test_json_of_something_else_is_named(tmp_path):
    photos(tmp_path, {"": 2})
    (tmp_path / "000.json").write_text('{"width": 24}')
    layout = find_images(tmp_path)
    assert layout.notes.aside == "left aside: 1 .json"
    assert layout.notes.unread == "1 .json beside images (no field label, caption or the like)"


def test_captions_in_a_folder_of_their_own_are_named(tmp_path):
    photos(tmp_path, {"images": 2})
    (tmp_path / "captions").mkdir()
    for name in ("000.txt", "001.txt", "notes.txt"):
        (tmp_path / "captions" / name).write_text("x")
    assert find_images(tmp_path).notes[1:] == (
        "left aside: 3 .txt; no image in captions",
        "2 .txt in captions (called as images are, but not beside them)",
        f"images is the only class: give {tmp_path / 'images'} if it is none",
    )


def test_a_text_that_is_too_long_or_cannot_be_read_is_none(tmp_path):
    photos(tmp_path, {"": 4})
    for i in range(3):
        (tmp_path / f"00{i}.txt").write_text("x" * (2**20 + (i == 0)))
    (tmp_path / "003.txt").write_bytes(b"a\0b")
    assert find_images(tmp_path).faults == {
        0: "its .txt has more than 1048576 bytes", 3: "its .txt holds zeros",
    }  # fmt: skip


@pytest.mark.parametrize("first", ["png", "cls"])
def test_members_of_an_image_that_lie_apart_are_one_sample(tmp_path, first):
    """As a tool writes them that adds one kind after the other."""
    kinds = ("png", "cls") if first == "png" else ("cls", "png")
    rows = [
        (f"{i}.{kind}", PNG if kind == "png" else b"%d" % i) for kind in kinds for i in range(3)
    ]
    file = shard(tmp_path / "x.tar", rows)
    result = index_tar(io.BytesIO(file.read_bytes()))
    assert [(s.name, s.annotation.label, s.beside) for s in result] == [
        (f"{i}.png", i, ("cls",)) for i in range(3)
    ]
    again = shard(tmp_path / "y.tar", [("a.png", PNG), ("b.png", PNG), ("a.png", PNG)])
    assert len(index_tar(io.BytesIO(again.read_bytes()))) == 3


def test_members_that_are_not_read_are_counted(tmp_path):
    rows = [(f"{i}.{kind}", PNG) for i in range(2) for kind in ("png", "pyd", "seg.png")]
    assert find_shards(str(shard(tmp_path / "x.tar", rows))).notes.aside == (
        "left aside: 2 .pyd, 2 .seg.png"
    )


def test_members_of_systems_are_no_samples(tmp_path):
    rows = [("__MACOSX/._a.png", b"x"), ("@eaDir/a.png", PNG), ("./cat/a.png", PNG)]
    file = shard(tmp_path / "x.tar", rows)
    assert [s.name for s in index_tar(io.BytesIO(file.read_bytes()))] == ["./cat/a.png"]


def test_folders_and_splits_of_tars_are_in_doubt(tmp_path):
    for split in ("train-0", "val-0"):
        shard(tmp_path / f"{split}.tar", [("cat/a.png", PNG), ("owl/a.png", PNG)])
    assert find_shards(str(tmp_path)).notes.doubt == (
        "train-0, val-0 are taken together: give a pattern; "
        "folders cat, owl in them are no classes: add .cls"
    )
