"""What a folder holds, whatever lies beside the images."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import features

import patch_forcing as pf
from patch_forcing.data.folder_layout import find_images
from patch_forcing.data.listing import list_folder
from patch_forcing.data.notes import Notes
from patch_forcing.data.sources import FolderSource
from tests.support.image_files import (
    BMP,
    GIF,
    JPEG,
    NOISE,
    PNG,
    TIFF,
    WEBP,
    encoded,
    photos,
)


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def test_subfolders_are_classes_in_the_order_of_their_names(tmp_path):
    touch(tmp_path, "owl/2.png", "cat/9.jpg", "cat/10.jpg", "Ant/1.webp", "cat/notes.txt")
    layout = find_images(tmp_path)
    assert layout.class_names == ("Ant", "cat", "owl")
    assert layout.names == ("Ant/1.webp", "cat/10.jpg", "cat/9.jpg", "owl/2.png")
    assert layout.labels == (0, 1, 1, 2)
    assert layout.class_sizes == {"Ant": 1, "cat": 2, "owl": 1}
    assert layout.summary == "3 classes (Ant 1, cat 2, owl 1)"
    assert [layout.file(i).is_file() for i in range(4)] == [True] * 4


def test_images_in_the_folder_itself_have_no_class(tmp_path):
    layout = find_images(touch(tmp_path, "b.png", "a.png"))
    assert (layout.names, layout.class_names, layout.labels) == (("a.png", "b.png"), (), ())
    assert layout.summary == "no classes"


def test_many_classes_are_summed_up(tmp_path):
    names = [f"{label:02d}/{i}.png" for label in range(13) for i in range(label + 1)]
    assert find_images(touch(tmp_path, *names)).summary == "13 classes (1 to 13 images each)"


def test_hidden_files_other_endings_and_empty_folders_are_left_aside(tmp_path):
    touch(
        tmp_path, "cat/a.png", "cat/._a.png", ".DS_Store", ".git/x.png", "notes.txt", "cat/a.mp4",
        "cat/.thumbs/a.png", "docs/notes.txt", "cat/png", "cat/a.png.bak",
    )  # fmt: skip
    (tmp_path / "empty").mkdir()
    layout = find_images(tmp_path)
    assert (layout.names, layout.class_names) == (("cat/a.png",), ("cat",))


def test_every_ending_counts_in_any_case_with_any_name(tmp_path):
    names = ["a.png", "b.JPG", "c.Jpeg", "d.webp", "e.bmp", "f.GIF", "g.tif", "h.TIFF"]
    names += ["i i.png", "Äpfel 🍎.png", "x.png.png", "new\nline.png"]
    assert set(find_images(touch(tmp_path, *names)).names) == set(names)


def test_a_name_that_is_no_text_is_an_image_too(tmp_path):
    touch(tmp_path, "a.png")
    with open(os.fsencode(tmp_path) + b"/\xff.png", "wb"):  # noqa: PTH123
        pass
    layout = find_images(tmp_path)
    assert layout.names == ("a.png", os.fsdecode(b"\xff.png"))
    assert len(layout.identity) == 16


def test_what_is_called_an_image_is_a_sample_even_if_it_is_a_folder_or_leads_nowhere(tmp_path):
    touch(tmp_path, "a.png")
    (tmp_path / "b.png").mkdir()
    (tmp_path / "c.png").symlink_to("gone")
    assert find_images(tmp_path).names == ("a.png", "b.png", "c.png")


def test_a_class_may_be_a_link_to_a_folder(tmp_path):
    touch(tmp_path / "elsewhere", "1.png")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cat").symlink_to(tmp_path / "elsewhere")
    assert find_images(tmp_path / "data").names == ("cat/1.png",)


@pytest.mark.parametrize("place", ["", "cat/"])
@pytest.mark.parametrize("target", ["loop", "other", ".", "..", "../..", "{root}"])
@pytest.mark.parametrize("below", ["", "cat/"])
def test_a_link_that_goes_round_in_a_circle_is_left_aside(tmp_path, below, place, target):
    root = touch(tmp_path / "data", f"{below}1.png", "cat/notes.txt")
    (root / place / "loop").symlink_to(target.format(root=root))
    (root / place / "other").symlink_to("loop")
    assert find_images(root).names == (f"{below}1.png",)


def test_a_link_that_cannot_be_followed_is_named(tmp_path):
    (touch(tmp_path / "data", "cat/1.png") / "owl").symlink_to("x" * 300)
    with pytest.raises(pf.UserError, match=r"data/owl cannot be read \(.* long\): allow"):
        find_images(tmp_path / "data")


@given(st.permutations("abBA 1_é"))
def test_the_order_is_not_the_file_systems(names):
    class Entry:
        def __init__(self, name):
            self.name = name

        def is_dir(self):
            return False

    class Scan(list):
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    entries = [Entry(f"{name}.png") for name in names]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "scandir", lambda _: Scan(entries))
        listing = list_folder(Path("somewhere"))
    assert listing.images == sorted(f"{name}.png" for name in names)
    assert listing.folders == []


def test_the_identity_is_of_the_names(tmp_path):
    one = find_images(touch(tmp_path / "one", "a/1.png", "b/1.png")).identity
    assert find_images(touch(tmp_path / "two", "a/1.png", "b/1.png")).identity == one
    assert find_images(touch(tmp_path / "three", "a/1.png", "b/2.png")).identity != one


WRONG = {
    "nowhere": ([], "nowhere is not there: give a folder of images"),
    "file.png": (["file.png"], "file.png is a file: give the folder of images"),
    "none": (["none/notes.txt"], r"none holds no images: give a folder of \.png, \.jpg"),
    "mixed": (
        ["mixed/1.png", "mixed/cat/2.png"],
        r"mixed/1\.png lies beside folders of images, such as cat: put it into the folder of a "
        r"class, or add --data\.depth 0",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_another_arrangement_is_told_how_to_be_arranged(tmp_path, name):
    files, message = WRONG[name]
    touch(tmp_path, *files)
    with pytest.raises(pf.UserError, match=message):
        find_images(tmp_path / name)


def test_a_folder_that_may_not_be_listed_is_named(tmp_path, monkeypatch):
    photos(tmp_path / "mine", {"": 1})

    def refuse(_folder):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(pf.UserError, match=r"mine cannot be read \(Permission denied\): allow it"):
        find_images(tmp_path / "mine")


AVIF = {".avif": encoded(NOISE, "AVIF")} if features.check("avif") else {}
BY_NAME = AVIF | {
    ".jpe": JPEG, ".JFIF": JPEG, ".pjpeg": JPEG, ".mpo": JPEG, ".apng": PNG, ".dib": BMP,
    ".ppm": encoded(NOISE, "PPM"), ".pgm": encoded(NOISE[..., 0], "PPM"),
    ".jp2": encoded(NOISE, "JPEG2000", irreversible=False),
}  # fmt: skip
BY_CONTENT = {"": JPEG, ".jpg_large": JPEG, ".jpg?w=9": PNG, ".1": GIF, ".img": TIFF, ".x": WEBP}


@pytest.mark.parametrize("place", ["", "class/"])
@pytest.mark.parametrize("kind", [*BY_NAME, *BY_CONTENT])
def test_an_image_by_another_name_is_read(tmp_path, kind, place):
    data = (BY_NAME | BY_CONTENT)[kind]
    (tmp_path / f"{place}.").mkdir(exist_ok=True)
    (tmp_path / f"{place}a{kind}").write_bytes(data)
    (tmp_path / f"{place}b.png").write_bytes(data)
    opened = FolderSource(str(tmp_path), size=20, fit="pad").open()
    assert opened.layout.names == (f"{place}a{kind}", f"{place}b.png")
    assert opened.layout.notes.aside == ""
    assert (opened.picture(0) == opened.picture(1)).all()


def test_what_is_left_aside_is_counted_and_folders_without_images_are_named(tmp_path):
    photos(tmp_path, {"cat": 2, "dog": 1})
    for name in ("owl", "ant", "cat/masks", ".git"):
        (tmp_path / name).mkdir()
    touch(tmp_path, "cat/1.HEIC", "owl/2.heic", "notes.txt", "cat/README", "dog/x.weird", ".hidden")
    touch(tmp_path, "cat/Thumbs.db", "dog/desktop.ini", ".git/HEAD")
    (tmp_path / "dog" / "half.jpg.part").write_bytes(JPEG)
    os.mkfifo(tmp_path / "dog" / "pipe")
    opened = FolderSource(str(tmp_path)).open()
    assert opened.layout.class_sizes == {"cat": 2, "dog": 1}
    assert opened.summary.splitlines()[1:] == [
        f"from {tmp_path}: classes by folder, no captions",
        "left aside: 1 without an ending, 2 .heic, 1 .part, 1 .txt, 1 .weird; "
        "hidden or of the system: 4; no image in ant, owl",
    ]


def test_captions_are_not_left_aside(tmp_path):
    photos(tmp_path, {"": 2})
    for number in range(2):
        (tmp_path / f"{number:03d}.txt").write_text("a cat")
    assert find_images(tmp_path).notes == Notes(
        f"from {tmp_path}: no classes, captions by 2 .txt beside images"
    )
    assert find_images(tmp_path, "none").notes == Notes(
        f"from {tmp_path}: no classes, "
        "no captions (by 2 .txt beside images with --data.condition caption)",
        "left aside: 2 .txt",
    )


def test_a_folder_of_nothing_that_is_read_says_what_it_holds(tmp_path):
    touch(tmp_path, "cat/1.heic", "owl/2.heic")
    with pytest.raises(pf.UserError, match=r"\.jpg.*; left aside: 2 \.heic; no image in cat, owl$"):
        find_images(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 30}, r"data\.size=30 does not fit: choose a multiple of 4, 8 to 1024"),
        ({"size": 4}, r"data\.size=4 does not fit"),
        ({"size": 2048}, r"data\.size=2048 does not fit"),
        ({"max_bad_share": 1.5}, r"data\.max_bad_share=1\.5 is out of range: choose 0 to 1"),
        ({"max_bad_share": float("nan")}, r"data\.max_bad_share=nan"),
    ],
)
def test_options_out_of_range_are_named(options, message):
    with pytest.raises(pf.UserError, match=message):
        FolderSource("photos", **options)


def test_a_path_is_required():
    with pytest.raises(pf.UserError, match=r"data\.path is not given: add --data\.path DIR"):
        FolderSource().open()
