"""Labels and captions of many images in one file, in the forms that people and tools write."""

import json
import sys
import unicodedata

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import patch_forcing as pf
from patch_forcing.data.folder_layout import find_images
from tests.support.image_files import photos

NAMES = [f"{i:03d}.png" for i in range(4)]
CLASSES = ["cat", "owl", "cat", "owl"]
TEXTS = [f"a {name}" for name in CLASSES]
ROWS = [{"file_name": n, "label": c} for n, c in zip(NAMES, CLASSES, strict=True)]
CAPTIONED = [{"file_name": n, "text": t} for n, t in zip(NAMES, TEXTS, strict=True)]


def lines(rows):
    return "\n".join(map(json.dumps, rows))


def table(head, values, separator=","):
    rows = [separator.join(row) for row in zip(NAMES, values, strict=True)]
    return "\n".join([head, *rows])


def pairs(values):
    return [[name, value] for name, value in zip(NAMES, values, strict=True)]


def columns(form):
    return json.dumps({"file_name": form(NAMES), "label": form(CLASSES)})


LABELLED = {
    "jsonl": ("metadata.jsonl", lines(ROWS)),
    "capitals": ("Metadata.JSONL", lines(ROWS)),
    "ndjson": ("labels.ndjson", lines(ROWS)),
    "a list of objects": ("metadata.json", json.dumps(ROWS)),
    "a list that is called lines": ("metadata.jsonl", json.dumps(ROWS, indent=1)),
    "lines that are called json": ("metadata.json", lines(ROWS)),
    "a list by a name": ("annotations.json", json.dumps({"version": 1, "images": ROWS})),
    "by name": ("labels.json", json.dumps(dict(pairs(CLASSES)))),
    "pairs": ("labels.json", json.dumps(pairs(CLASSES))),
    "columns": ("metadata.json", columns(list)),
    "columns of pandas": ("metadata.json", columns(lambda v: dict(enumerate(v)))),
    "StyleGAN, EDM": ("dataset.json", json.dumps({"labels": pairs(CLASSES)})),
    "csv": ("labels.csv", table("filename,class", CLASSES)),
    "csv in capitals": ("LABELS.CSV", table("File Name,Class_Name", CLASSES)),
    "with semicolons": ("metadata.csv", table("file;Category", CLASSES, ";")),
    "tsv": ("metadata.tsv", table("image\tlabel", CLASSES, "\t")),
    "csv with tabs": ("metadata.csv", table("path\tlabel", CLASSES, "\t")),
    "names without ending": ("metadata.csv", table("id,label", CLASSES).replace(".png", "")),
    "UTF-16": ("metadata.csv", "\ufeff" + table("image,label", CLASSES)),
    "of Excel": ("metadata.csv", "sep=;\n\n" + table("image;label", CLASSES, ";")),
    "a text with columns": ("labels.txt", table("image,label", CLASSES)),
}
CAPTIONS = {
    "jsonl": ("captions.jsonl", lines(CAPTIONED)),
    "by name": ("captions.json", json.dumps(dict(pairs(TEXTS)))),
    "objects by name": ("meta.json", json.dumps({n[:3]: {"caption": t} for n, t in pairs(TEXTS)})),
    "open_clip": ("captions.csv", table("filepath\ttitle", TEXTS, "\t")),
    "prompts": ("prompts.csv", table("img,prompt", TEXTS)),
}


@pytest.mark.parametrize("form", LABELLED)
def test_labels_are_read_in_every_form(tmp_path, form):
    name, text = LABELLED[form]
    encoding = "utf-16-le" if form == "UTF-16" else "utf-8"
    (photos(tmp_path, {"": 4}) / name).write_text(text, encoding)
    layout = find_images(tmp_path)
    assert layout.names == tuple(NAMES)
    assert [layout.class_names[label] for label in layout.labels] == CLASSES
    assert layout.notes.source.endswith(f" of {name}, no captions")
    assert layout.notes[1:] == ("", "", "")
    assert layout.faults == {}


@pytest.mark.parametrize("form", CAPTIONS)
def test_so_are_captions(tmp_path, form):
    name, text = CAPTIONS[form]
    (photos(tmp_path, {"": 4}) / name).write_text(text)
    layout = find_images(tmp_path)
    assert (layout.captions, layout.condition) == (tuple(TEXTS), "caption")
    assert layout.notes.source.endswith(f" of {name}")


@pytest.mark.parametrize("rows", [ROWS, CAPTIONED])
@pytest.mark.parametrize("place", ["", "train/"])
def test_parquet_says_the_same(tmp_path, rows, place):
    photos(tmp_path, {place: 4})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{place}metadata.parquet")
    layout = find_images(tmp_path)
    assert layout.names == tuple(f"{place}{name}" for name in NAMES)
    known = [layout.class_names[label] for label in layout.labels] or list(layout.captions)
    assert known == (CLASSES if rows is ROWS else TEXTS)


def test_parquet_that_cannot_be_read_is_told(tmp_path, monkeypatch):
    photos(tmp_path, {"": 4})
    (tmp_path / "metadata.parquet").write_bytes(b"junk")
    with pytest.raises(pf.UserError, match=r"metadata\.parquet cannot be read \(Parquet file size"):
        find_images(tmp_path)
    pq.write_table(pa.table({"name": NAMES, "label": CLASSES}), tmp_path / "metadata.parquet")
    with pytest.raises(pf.UserError, match="no column file_name among 'name, label': rename it"):
        find_images(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    needs = r"metadata\.parquet needs the package pyarrow: pip install 'patch-forcing\[datasets\]'"
    with pytest.raises(pf.UserError, match=needs):
        find_images(tmp_path)


def test_a_table_of_a_folder_names_images_below_it(tmp_path):
    photos(tmp_path, {"a": 2, "b": 2})
    for folder, label in (("a", "cat"), ("b", "owl")):
        rows = [{"file_name": f"00{i}.png", "label": label} for i in range(2)]
        (tmp_path / folder / "metadata.jsonl").write_text(lines(rows))
    layout = find_images(tmp_path)
    assert layout.names == ("a/000.png", "a/001.png", "b/000.png", "b/001.png")
    assert (layout.class_names, layout.labels) == (("cat", "owl"), (0, 0, 1, 1))
    assert layout.notes.source.endswith(
        "by label of a/metadata.jsonl, b/metadata.jsonl, no captions"
    )
    (tmp_path / "metadata.jsonl").write_text(lines([{"file_name": "a/000.png", "label": "yak"}]))
    assert find_images(tmp_path, "none").faults == {
        0: "a/metadata.jsonl and another file name it differently"
    }


def test_images_apart_from_every_table_have_no_label(tmp_path):
    photos(tmp_path, {"a": 2, "b": 2})
    (tmp_path / "a" / "metadata.jsonl").write_text(lines(ROWS[:2]))
    layout = find_images(tmp_path)
    assert layout.faults == {2: "no label", 3: "no label"}


@pytest.mark.parametrize(
    "written",
    ["a\\{}", "./a/{}", "{root}/a/{}", "A/{upper}", "a/{bare}", " a / {} ", "{}", "{bare}"],
)
def test_an_image_is_found_by_whatever_can_mean_it_alone(tmp_path, written):
    photos(tmp_path, {"a": 4})
    rows = [
        row | {"file_name": written.format(n, root=tmp_path, upper=n.upper(), bare=n[:3])}
        for n, row in zip(NAMES, ROWS, strict=True)
    ]
    (tmp_path / "metadata.jsonl").write_text(lines(rows))
    layout = find_images(tmp_path)
    assert layout.names == tuple(f"a/{name}" for name in NAMES)
    assert layout.faults == {}


def test_accents_may_be_composed_otherwise(tmp_path):
    photos(tmp_path, {"": 1})
    decomposed = unicodedata.normalize("NFD", "Bär.png")
    (tmp_path / "000.png").rename(tmp_path / decomposed)
    (tmp_path / "metadata.jsonl").write_text(lines([{"file_name": "Bär.png", "label": "x"}]))
    assert find_images(tmp_path).names == (decomposed,)


def test_a_name_that_can_mean_two_means_none(tmp_path):
    photos(tmp_path, {"": 2})
    (tmp_path / "001.png").rename(tmp_path / "000.PNG")
    rows = [{"file_name": "000.Png", "label": 1}, {"file_name": "000.png", "label": 1}]
    (tmp_path / "metadata.jsonl").write_text(lines(rows))
    assert find_images(tmp_path).names == ("000.PNG", "000.Png", "000.png")


def test_a_bare_name_means_the_only_image_of_that_name_below(tmp_path):
    photos(tmp_path, {"a/images": 1, "b": 2})
    for folder in ("a", "b"):
        text = "file_name,label\n000.png,1\n001.png,1\n"
        (tmp_path / folder / "metadata.csv").write_text(text)
    assert find_images(tmp_path, "none").names == (
        "a/001.png", "a/images/000.png", "b/000.png", "b/001.png",
    )  # fmt: skip


def test_labels_null_says_that_there_are_none(tmp_path):
    photos(tmp_path, {"00000": 2, "00001": 2})
    (tmp_path / "dataset.json").write_text('{"labels": null}')
    layout = find_images(tmp_path)
    assert (layout.class_names, layout.faults, len(layout.names)) == ((), {}, 4)
    assert layout.notes == (f"from {tmp_path}: no classes, no captions", "", "", "")


def test_captions_of_a_table_leave_folders_in_doubt_which_a_user_may_choose(tmp_path):
    photos(tmp_path, {"cat": 1, "owl": 1})
    rows = [{"file_name": f"{name}/000.png", "text": f"a {name}"} for name in ("cat", "owl")]
    (tmp_path / "metadata.jsonl").write_text(lines(rows))
    layout = find_images(tmp_path)
    assert layout.captions == ("a cat", "a owl")
    assert layout.notes.doubt == "folders cat, owl are no classes (--data.condition class)"
    assert find_images(tmp_path, "class").class_names == ("cat", "owl")


def test_a_table_without_labels_and_captions_leaves_folders_as_classes(tmp_path):
    photos(tmp_path, {"cat": 1, "owl": 1})
    rows = [{"file_name": f"{name}/000.png", "width": 24} for name in ("cat", "owl")]
    (tmp_path / "metadata.jsonl").write_text(lines(rows))
    layout = find_images(tmp_path)
    assert layout.class_names == ("cat", "owl")
    assert layout.notes.unread == "metadata.jsonl (no field label, text or the like)"


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
    "Captions.csv": (
        "image,caption\n000.png,a\n000.png,b",
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
