"""Folders in folders: which of them names the class."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import patch_forcing as pf
from patch_forcing.data.class_folders import class_folder, class_folders
from patch_forcing.data.folder_layout import find_images

NESTED = ("cat/grey/1.png", "cat/grey/old/2.png", "cat/tabby/3.png", "owl/snowy/4.png")


def tree(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def classes(layout):
    return {
        name: layout.class_names[label]
        for name, label in zip(layout.names, layout.labels, strict=True)
    }


@pytest.mark.parametrize("depth", [1, 2])
def test_the_folder_of_the_chosen_level_is_the_class(tmp_path, depth):
    layout = find_images(tree(tmp_path, *NESTED), depth=depth)
    assert sorted(layout.names) == sorted(NESTED)
    known = {name: "/".join(name.split("/")[:depth]) for name in NESTED}
    assert classes(layout) == known
    assert layout.class_names == tuple(sorted(set(known.values())))


@pytest.mark.parametrize("how", [{"depth": 0}, {"condition": "none"}])
def test_at_level_0_or_without_a_condition_images_may_lie_anywhere(tmp_path, how):
    layout = find_images(tree(tmp_path, *NESTED, "5.png"), **how)
    assert set(layout.names) == {*NESTED, "5.png"}
    assert (layout.class_names, layout.condition) == ((), "none")


def test_captions_are_read_at_any_depth_and_images_may_lie_at_two_levels(tmp_path):
    tree(tmp_path, *NESTED, "5.png")
    for name in (*NESTED, "5.png"):
        (tmp_path / name).with_suffix(".txt").write_text(f"a {name}")
    for how in ({"condition": "caption"}, {"depth": 0}):
        layout = find_images(tmp_path, **how)
        assert layout.captions == tuple(f"a {name}" for name in layout.names)


def test_a_table_without_labels_may_leave_classes_to_folders_of_a_level(tmp_path):
    tree(tmp_path, *NESTED)
    rows = [f'{{"file_name": "{name}", "text": "a {name}"}}\n' for name in NESTED]
    (tmp_path / "metadata.jsonl").write_text("".join(rows))
    layout = find_images(tmp_path, condition="class", depth=2)
    assert layout.class_names == ("cat/grey", "cat/tabby", "owl/snowy")


DOUBTS = {
    NESTED: (
        "folders such as cat/grey belong to cat: --data.depth 2 makes 3 classes of them, 0 none"
    ),
    ("cat/1.png", "cat/new/2.png", "owl/3.png"): "folders such as cat/new belong to cat",
    ("cat/a/1.png", "owl/b/2.png"): "",
    ("a/b/c/1.png",): "a is the only class: give {root}/a/b/c if it is none",
    ("a/cat/1.png", "a/owl/2.png"): "a is the only class: give {root}/a if it is none",
    ("cat/train/1.png", "cat/test/2.png", "owl/train/3.png"): (
        "train, test within cat are taken together"
    ),
}


@pytest.mark.parametrize("names", DOUBTS)
def test_another_reading_is_named(tmp_path, names):
    assert find_images(tree(tmp_path, *names)).notes.doubt == DOUBTS[names].format(root=tmp_path)


REFUSED = {
    ("1.png", "cat/2.png", 1): r"1\.png lies beside folders of images, such as cat: put it into",
    ("1.png", "cat/2.png", 2): r"1\.png lies beside folders of images, such as cat: put it into",
    (
        "1.png",
        "2.png",
        2,
    ): r"data\.depth=2, but images of .* lie in no folder, such as .*: leave it",
    ("a/b/1.png", "a/c/2.png", 3): "lie 2 folders deep at most, such as .*: choose --data.depth 2$",
    ("a/1.png", "b/2.png", 2): "lie 1 folder deep at most, such as .*: leave it out$",
    ("a/1.png", "b/c/2.png", 2): (
        r"a/1\.png lies above level 2, whose folders are the classes \(data\.depth=2\): put it "
        "into one of them, or choose --data.depth 1, or --data.depth 0"
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_image_above_its_level_is_named_with_what_to_do(tmp_path, case):
    *names, depth = case
    with pytest.raises(pf.UserError, match=REFUSED[case]):
        find_images(tree(tmp_path, *names), depth=depth)


paths = st.lists(st.text("ab", min_size=1, max_size=2), min_size=1, max_size=4).map("/".join)


@given(st.lists(paths, min_size=1), st.integers(0, 4))
def test_classes_are_the_first_folders_of_the_images(images, depth):
    folders = class_folders(images, depth)
    if depth and all(image.count("/") >= depth for image in images):
        assert folders == sorted({class_folder(image, depth) for image in images})
        assert all(folder.count("/") == depth - 1 for folder in folders)
    else:
        assert folders == []


def test_a_link_to_a_folder_elsewhere_is_part_of_its_class(tmp_path):
    tree(tmp_path / "elsewhere", "2.png")
    tree(tmp_path / "data", "cat/1.png")
    (tmp_path / "data" / "cat" / "more").symlink_to(tmp_path / "elsewhere")
    assert find_images(tmp_path / "data").names == ("cat/1.png", "cat/more/2.png")
