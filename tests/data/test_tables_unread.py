"""Tables beside images that are not read, or that cannot be meant: named, with the mend."""

import pytest

import patch_forcing as pf
from patch_forcing.data.folder_layout import find_images
from tests.support.image_files import photos
from tests.support.tables import CAPTIONED, CLASSES, NAMES, ROWS, TEXTS, lines, table

OBJECTS = "write objects with file_name and label, or text"
UNREAD = {
    "labels.csv": ("000.png,cat", "no column file_name in its first line, '000.png,cat': name"),
    "captions.txt": ("000.png a cat", "no column file_name in its first line, '000.png a cat'"),
    "metadata.json": ('{"name": "mine"}', f'"mine" may be a label or a caption: {OBJECTS}'),
    "labels.json": ('{"0": "cat"}', "0 may be an image or a class: write objects with file_name"),
    "classes.json": ('["cat"]', "it holds no list of objects: write one for each image"),
    "annotations.json": (
        '{"images": [{"id": 1}], "annotations": [{"id": 1}]}',
        "it holds several lists: write one row for each image",
    ),
    "annotations.csv": (
        "file,class,xmin\n000.png,cat,3\n000.png,owl,4",
        "it holds objects in images: write one label for each image",
    ),
    "captions.json": ("{", "it is no JSON: mend it"),
    "Labels.csv": (
        "image,label\n000.png,a\n000.png,b",
        "several rows name one image, such as 000.png: write one for each",
    ),
    "_annotations.coco.json": ('{"info": 1}', "it names no image that lies there, such as info"),
    "metadata.yaml": ("a: b", "write metadata.jsonl or metadata.csv"),
    "metadata.jsonl.gz": ("", "write metadata.jsonl or metadata.csv"),
    "train.csv": ("id,breed\n000,cat", "it names images: call it metadata.csv"),
    "open_clip.csv": (
        "filepath\ttitle\nmine/000.png\ta cat",
        "it names no image that lies there, such as mine/000.png: write paths below",
    ),
    "mine.jsonl": (lines(ROWS), "it names images: call it metadata.jsonl"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNREAD)
def test_what_has_no_one_meaning_is_named_and_not_read(tmp_path, name):
    text, why = UNREAD[name]
    (photos(tmp_path, {"": 4}) / name).write_text(text)
    layout = find_images(tmp_path)
    assert (layout.names, layout.condition, layout.faults) == (tuple(NAMES), "none", {})
    assert layout.notes.unread.startswith(f"{name} ({why}")


def test_fields_that_are_not_read_are_named(tmp_path):
    root = photos(tmp_path, {"": 1})
    (root / "metadata.csv").write_text("file_name,label,species,Width\n000.png,1,cat,24\n")
    assert find_images(root).notes.unread == "fields species, Width of metadata.csv"
    (root / "metadata.csv").write_text("file_name,species\n000.png,cat\n")
    unread = find_images(root).notes.unread
    assert unread == "fields species of metadata.csv (call labels label, captions text)"


def test_metadata_come_before_others_which_are_named(tmp_path):
    root = photos(tmp_path, {"": 4})
    (root / "metadata.jsonl").write_text(lines(CAPTIONED))
    (root / "labels.csv").write_text(table("file,label", CLASSES))
    (root / "000.txt").write_text("an owl")
    layout = find_images(root)
    assert (layout.condition, layout.captions) == ("caption", tuple(TEXTS))
    assert layout.notes.unread == (
        "labels.csv (it names images: metadata.jsonl is read); "
        "1 .txt beside images (of images that metadata.jsonl describes)"
    )


def test_a_table_around_the_folder_is_named(tmp_path):
    photos(tmp_path / "train", {"": 1})
    (tmp_path / "train.csv").write_text("id,label\n000,1")
    assert find_images(tmp_path / "train").notes.unread == (
        f"train.csv (beside {tmp_path / 'train'}, not in it: move it, or give {tmp_path})"
    )


REFUSED = {
    "two of them": (
        {"labels.csv": table("file,label", CLASSES), "captions.jsonl": lines(CAPTIONED)},
        "holds captions.jsonl and labels.csv, which both name its images: write one",
    ),
    "broken lines": (
        {"metadata.jsonl": "{\n{"},
        r"metadata.jsonl: no line can be read, such as metadata.jsonl:1: the line is no JSON",
    ),
    "no names": (
        {"metadata.jsonl": '{"text": "x"}'},
        "no line can be read, such as metadata.jsonl:1: the line has no file_name: mend it",
    ),
    "nothing": ({"metadata.jsonl": "\n"}, "metadata.jsonl: it names no images: give"),
    "other names": (
        {"metadata.jsonl": lines([{"file_name": "mine/000.png", "label": 1}])},
        "it names no image that lies there, such as mine/000.png: write paths below",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_meant_is_refused_and_named(tmp_path, case):
    files, message = REFUSED[case]
    photos(tmp_path, {"": 4})
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(pf.UserError, match=message):
        find_images(tmp_path)
