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
from tests.support.tables import CAPTIONED, CLASSES, NAMES, ROWS, TEXTS, lines, table


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
    needs = r"metadata\.parquet needs the package pyarrow: pip install .*\[datasets\]'"
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
