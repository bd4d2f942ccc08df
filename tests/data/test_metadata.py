"""metadata.jsonl, metadata.csv and captions beside images."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import patch_forcing as pf
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.folder_layout import find_images
from patch_forcing.data.sources import FolderSource
from tests.support.image_files import encoded, noise, photos


def described(root, *rows):
    """A folder whose metadata.jsonl has these rows."""
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    root.mkdir(exist_ok=True)
    (root / "metadata.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    return root


def by_name(layout):
    return dict(zip(layout.names, layout.labels or layout.captions, strict=True))


def faults(layout):
    return {layout.names[number]: reason for number, reason in layout.faults.items()}


def test_labels_of_metadata_are_classes_wherever_the_images_lie(tmp_path):
    root = photos(tmp_path / "mine", {"": 2, "a": 1, "b/c": 1})
    described(
        root,
        {"file_name": "000.png", "label": "cat"},
        {"file_name": "./001.png", "label": "owl"},
        {"file_name": "a/000.png", "label": "cat", "text": "not asked for"},
        {"file_name": "b/c/000.png", "label": "ant"},
    )
    layout = find_images(root)
    assert layout.class_names == ("ant", "cat", "owl")
    assert by_name(layout) == {"000.png": 1, "001.png": 2, "a/000.png": 1, "b/c/000.png": 0}
    assert (layout.faults, layout.captions) == ({}, ())
    data = FolderSource(str(root)).open()
    assert data.info.class_names == ("ant", "cat", "owl")
    assert sorted(data.batch(BatchSpec(0, 4, 0)).condition.tolist()) == [0, 1, 1, 2]


def test_numbers_are_classes_in_their_order(tmp_path):
    root = photos(tmp_path / "mine", {"": 3})
    described(root, *({"file_name": f"{i:03d}.png", "class": 10 - i} for i in range(3)))
    assert find_images(root).class_names == ("8", "9", "10")


@pytest.mark.parametrize("beside", [False, True])
def test_captions_go_with_their_images(tmp_path, beside):
    root = photos(tmp_path / "mine", {"": 6})
    names = [f"{i:03d}.png" for i in range(6)]
    if beside:
        for name in names:
            (root / name).with_suffix(".txt").write_bytes(f"\ufeffé of {name}\n".encode())
    else:
        described(root, *({"file_name": name, "text": f"é of {name}"} for name in names))
    data = FolderSource(str(root), flip=False).open()
    assert (data.num_classes, data.captioned, data.facts["captions"]) == (0, True, True)
    lines = data.summary.splitlines()
    assert lines[0] == "6 images, with captions, read as 20×20 in colour"
    what = "6 .txt beside images" if beside else "text of metadata.jsonl"
    assert lines[1:] == [f"from {root}: no classes, captions by {what}"]
    plain = FolderSource(str(root), flip=False, condition="none").open()
    assert "captions" not in plain.facts
    batch = data.batch(BatchSpec(3, 4, 0))
    assert plain.batch(BatchSpec(3, 4, 0))[1:] == (None, None, None)
    assert plain.batch(BatchSpec(3, 4, 0)).x_1.equal(batch.x_1)
    again = dict(zip(batch.captions, batch.x_1, strict=True))
    whole = data.batch(BatchSpec(0, 6, 9))
    for caption, image in zip(whole.captions, whole.x_1, strict=True):
        assert caption.startswith("é of 00")
        assert caption not in again or again[caption].equal(image)


def table(root, *lines):
    """A folder whose metadata.csv has these lines."""
    (root / "metadata.csv").write_bytes(b"\r\n".join(lines) + b"\r\n")
    return root


def test_a_table_says_the_same(tmp_path):
    root = photos(tmp_path / "mine", {"": 2, "a": 1})
    lines = (
        b"\xef\xbb\xbffile_name, label,more",
        b"000.png,cat,",
        b"./001.png,owl",
        b"a/000.png,cat",
    )
    layout = find_images(table(root, *lines))
    assert layout.class_names == ("cat", "owl")
    assert by_name(layout) == {"000.png": 0, "001.png": 1, "a/000.png": 0}
    table(root, b"text,file_name", b'"a cat, ""old"",\nasleep",000.png', b"\xc3\xa9,001.png")
    result = find_images(root)
    assert by_name(result) == {"000.png": 'a cat, "old",\nasleep', "001.png": "é", "a/000.png": ""}
    assert faults(result) == {"a/000.png": "no row of metadata.csv names it"}


def test_numbers_of_a_table_are_classes_in_their_order(tmp_path):
    root = photos(tmp_path / "mine", {"": 3})
    table(root, b"file_name,class", *(f"{i:03d}.png,{10 - i}".encode() for i in range(3)))
    assert find_images(root).class_names == ("8", "9", "10")


def test_a_missing_label_of_a_table_is_no_class_and_the_next_column_counts(tmp_path):
    root = photos(tmp_path / "mine", {"": 6})
    rows = (b"2.0,", b"-1,", b",3", b" ,1", b"7,9", b"0.0,")
    table(root, b"file_name,label,class", *(b"%03d.png,%s" % row for row in enumerate(rows)))
    layout = find_images(root)
    assert layout.class_names == ("0", "1", "2", "3", "7")
    assert faults(layout) == {"001.png": "label -1 is no class"}
    labels = [layout.class_names[label] for label in layout.labels]
    assert labels[:1] + labels[2:] == ["2", "3", "1", "7", "0"]


BAD_LINES = {
    b"": {},  # no line
    b",a cat": {"metadata.csv:6": "the line has no file_name"},
    b'"000.png\0",a': {"metadata.csv:6": "the line has no file_name"},
    b"/etc/passwd.png,a": {"metadata.csv:6": "its file_name leads out of the folder"},
    b"000.png,again": {},  # its second caption
    b"x.png,\xff": {"x.png": "half a character in the caption"},
    b"x.png": {"x.png": "no caption"},
    b"x.png,": {"x.png": "empty caption"},
    b",,": {},
    b"x.png,a,,": {},
    b"x.png,a, b": {"metadata.csv:6": "the line has too many commas"},
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_bad_line_of_a_table_is_a_bad_sample(tmp_path, line):
    root = photos(tmp_path / "mine", {"": 9})
    good = [f"{i:03d}.png,{i}th".encode() for i in range(9)]
    layout = find_images(table(root, b"file_name,text", *good[:4], line, *good[4:]))
    assert faults(layout) == BAD_LINES[line]


def test_what_is_no_table_is_refused(tmp_path):
    root = photos(tmp_path / "mine", {"": 2})
    table(root, b"file_name,text", b"000.png," + b"x" * 200_000)
    with pytest.raises(pf.UserError, match=r"metadata.csv cannot be read \(line 2: field larger"):
        find_images(root)
    for first, message in {
        b"000.png,a": r"no column file_name in its first line, '000.png,a': name the columns",
        b"name;text": "no column file_name in its first line, 'name;text'",
        b"file_name,text,text": "two columns 'text' in its first line: remove one",
        b"": "no column file_name in its first line, '001.png,b'",
        b'file_name,text\r\n000.png,"a': "cannot be read .line 2: unexpected end of data",
    }.items():
        with pytest.raises(pf.UserError, match=f"metadata.csv:? {message}"):
            find_images(table(root, first, b"001.png,b"))
    (root / "metadata.jsonl").write_text("{}\n")
    with pytest.raises(pf.UserError, match=r"metadata.jsonl and metadata.csv: remove one"):
        find_images(root)


BAD_ROWS = {
    b"{": "the line is no JSON object",
    b"[1]": "the line is no JSON object",
    b"[" * 100_000: "the line is no JSON object",
    b'{"file_name": "\xff.png"}': "the line is no UTF-8 text",
    b'{"text": "a cat"}': "the line has no file_name",
    b'{"file_name": 7}': "the line has no file_name",
    b'{"file_name": "./"}': "the line has no file_name",
    b'{"file_name": "a\\u0000.png"}': "the line has no file_name",
    b'{"file_name": "\\ud800.png"}': "the line has no file_name",
    b'{"file_name": "/etc/passwd.png", "text": "a"}': "its file_name leads out of the folder",
    b'{"file_name": "a/../../b.png", "text": "a"}': "its file_name leads out of the folder",
}
BAD_CAPTIONS = {
    b'{"file_name": "000.png"}': "no caption",
    b'{"file_name": "000.png", "text": null}': "no caption",
    b'{"file_name": "000.png", "text": " "}': "empty caption",
    b'{"file_name": "000.png", "text": 3}': "caption 3 is no text",
    b'{"file_name": "000.png", "text": "\\ud800"}': "half a character in the caption",
    b"": "no row of metadata.jsonl names it",
}


@pytest.mark.parametrize("row", BAD_ROWS)
def test_a_bad_row_is_a_bad_sample_called_by_its_line(tmp_path, row):
    root = photos(tmp_path / "mine", {"": 9})
    good = [{"file_name": f"{i:03d}.png", "text": f"{i}"} for i in range(9)]
    described(root, *good[:4], b"", row, *good[4:])
    layout = find_images(root)
    assert faults(layout) == {"metadata.jsonl:6": BAD_ROWS[row]}
    named = named_in_an_epoch(FolderSource(str(root)).open())
    assert named == {str(root / "metadata.jsonl:6"): BAD_ROWS[row]}


@pytest.mark.parametrize("row", BAD_CAPTIONS)
def test_an_image_without_a_caption_is_a_bad_sample(tmp_path, row):
    root = photos(tmp_path / "mine", {"": 9})
    described(root, row, *({"file_name": f"{i:03d}.png", "text": f"{i}"} for i in range(1, 9)))
    named = named_in_an_epoch(FolderSource(str(root)).open())
    assert named == {str(root / "000.png"): BAD_CAPTIONS[row]}


@pytest.mark.parametrize(
    ("text", "reason"),
    [(None, "no caption"), (b"", "empty caption"), (b"\n ", "empty caption"),
     (b"\xff\xfe\x00", "its .txt is no UTF-8 text")],
)  # fmt: skip
def test_also_if_captions_lie_beside_images(tmp_path, text, reason):
    root = photos(tmp_path / "mine", {"": 9})
    for file in list(root.iterdir())[1:]:
        file.with_suffix(".txt").write_text(file.name)
    bare = next(file for file in root.glob("*.png") if not file.with_suffix(".txt").exists())
    if text is not None:
        bare.with_suffix(".txt").write_bytes(text)
    assert named_in_an_epoch(FolderSource(str(root)).open()) == {str(bare): reason}


def named_in_an_epoch(data):
    batch = data.batch(BatchSpec(0, data.num_samples, 0))
    assert all(batch.captions)
    return {bad.path: bad.reason for bad in data.bad_samples()}


def test_two_rows_for_an_image_and_a_row_for_none_are_bad(tmp_path):
    root = photos(tmp_path / "mine", {"": 6})
    rows = [{"file_name": f"{i:03d}.png", "label": i % 2} for i in range(7)]
    described(root, *rows, {"file_name": "./000.png", "label": 1})
    data = FolderSource(str(root)).open()
    data.batch(BatchSpec(0, 7, 0))
    assert {bad.path: bad.reason for bad in data.bad_samples()} == {
        str(root / "000.png"): "more than one row of metadata.jsonl names it",
        str(root / "006.png"): "No such file or directory",
    }


def test_what_metadata_say_is_part_of_what_was_found(tmp_path):
    root = photos(tmp_path / "mine", {"": 2})
    rows = [{"file_name": f"{i:03d}.png", "label": i} for i in range(2)]
    one = find_images(described(root, *rows)).identity
    assert find_images(described(root, *reversed(rows))).identity == one
    rows[0]["label"], rows[1]["label"] = 1, 0
    assert find_images(described(root, *rows)).identity != one


def test_captions_beside_images_in_folders_are_taken_if_asked_for(tmp_path):
    root = photos(tmp_path / "mine", {"cat": 1, "owl": 1})
    for file in list(root.rglob("*.png")):
        file.with_suffix(".txt").write_text(f"one {file.parent.name}")
    assert find_images(root).class_names == ("cat", "owl")
    assert find_images(root, "caption").captions == ("one cat", "one owl")
    assert find_images(root, "none").summary == "no classes"


def test_captions_that_are_all_empty_are_told(tmp_path):
    root = photos(tmp_path / "mine", {"": 1})
    (root / "000.txt").write_text(" ")
    with pytest.raises(pf.UserError, match=r"no caption of .*mine can be used, such as: empty"):
        find_images(root)


def test_labels_and_names_have_no_say_over_a_terminal(tmp_path):
    root = photos(tmp_path / "mine", {"": 1})
    name = "\x1b[2J.png"
    described(root, {"file_name": "000.png", "label": "\x1b[31mcat"}, {"file_name": name})
    layout = find_images(root)
    assert layout.class_names == ("\x1b[31mcat",)
    assert "\x1b" not in layout.summary
    assert [layout.place(n).replace(f"{root}/", "") for n in range(2)] == ["�[2J.png", "000.png"]


def test_a_text_of_another_name_is_no_caption(tmp_path):
    root = photos(tmp_path / "mine", {"": 2})
    (root / "notes.txt").write_text("mine")
    assert find_images(root).captions == ()


@pytest.mark.parametrize(("name", "recipe"), [("x.tar", "shards"), ("x.parquet", "hub")])
def test_a_folder_of_another_kind_says_which_recipe_takes_it(tmp_path, name, recipe):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(pf.UserError, match=f"holds no images: give a folder; .*train {recipe}"):
        find_images(tmp_path)


@given(st.binary(max_size=200))
def test_whatever_metadata_hold_each_image_is_sound_or_bad(tmp_path_factory, junk):
    root = tmp_path_factory.getbasetemp() / "junk"
    root.mkdir(exist_ok=True)
    (root / "a.png").write_bytes(encoded(noise()))
    (root / "metadata.jsonl").write_bytes(
        b'{"file_name": "a.png", "label": 1}\n' + junk + b'\n{"file_name": "b.png", "label": 1}\n'
    )
    layout = find_images(root, "class")
    assert {"a.png", "b.png"} <= set(layout.names)
    assert len(layout.labels) == len(layout.names)
    assert all(layout.faults.values())
