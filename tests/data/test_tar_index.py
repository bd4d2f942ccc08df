"""Samples of a tar file: found where tarfile finds them, and around whatever is damaged."""

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patch_forcing.data import tar_index
from patch_forcing.data.tar_index import index_tar
from tests.support.image_files import encoded, noise, shard

PNG = encoded(noise())


def indexed(members, tmp_path, **options):
    file = shard(tmp_path / "x.tar", members, **options)
    return index_tar(io.BytesIO(file.read_bytes()))


NAMES = st.one_of(
    st.from_regex(r"[a-z0-9_é/]{1,9}", fullmatch=True).filter(lambda n: not n.endswith("/")),
    st.integers(90, 300).map(lambda count: f"{'long' * 20}/{'x' * count}"),
    st.just("é" * 120),
)


# an image whose data end in zeros would be a damaged one
DATA = st.binary(max_size=1100).filter(lambda data: not data.endswith(b"\0"))


@given(
    st.lists(st.tuples(NAMES, DATA), max_size=5, unique_by=lambda row: row[0]),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.sampled_from([0, 1.5]),
)
def test_bytes_lie_where_the_index_says(tmp_path_factory, rows, form, mtime):
    file = tmp_path_factory.getbasetemp() / "index.tar"
    members = [(f"{name}.png", data) for name, data in rows]
    data = shard(file, members, form, mtime).read_bytes()
    result = [(s.name, data[s.start : s.start + s.size]) for s in index_tar(io.BytesIO(data))]
    assert result == members
    with tarfile.open(file) as tar:
        assert [m.name for m in tar] == [name for name, _ in members]


def test_members_in_a_row_of_one_name_are_one_sample(tmp_path):
    result = indexed(
        [("a/1.cls", b"7\n"), ("a/1.png", PNG), ("a/1.txt", b" a cat\n"),
         ("a/2.JPG", PNG), ("a/2.json", b'{"label": "owl", "caption": "an owl"}'),
         ("a/3.webp", PNG), ("b/3.png", PNG), ("b/3.cls", b"0"), ("b/3.json", b'{"label": 9}')],
        tmp_path,
    )  # fmt: skip
    assert [sample.name for sample in result] == ["a/1.png", "a/2.JPG", "a/3.webp", "b/3.png"]
    assert [sample.annotation[:3] for sample in result] == [
        (7, "a cat", ""), ("owl", "an owl", ""), (None, None, ""), (0, None, ""),
    ]  # fmt: skip


def test_a_mask_of_a_rare_kind_is_no_second_image(tmp_path):
    rows = [("a.jpg", PNG), ("a.pgm", PNG), ("b.ppm", PNG), ("c.jfif", PNG)]
    result = indexed(rows, tmp_path)
    assert [(s.name, s.annotation.fault) for s in result] == [
        ("a.jpg", ""), ("b.ppm", ""), ("c.jfif", ""),
    ]  # fmt: skip


def test_what_is_no_image_label_or_caption_is_never_read(tmp_path):
    """Not even looked at: nothing behind a pickle's header may be reached for."""
    bomb = b"cos\nsystem\n(S'touch /tmp/owned'\ntR."
    others = ("pyd", "pickle", "pth", "pt", "npy", "seg.png", "mp4", "PKL")
    rows = [("a.png", PNG), *((f"a.{kind}", bomb) for kind in others), ("a.cls", b"1")]
    data = shard(tmp_path / "x.tar", rows).read_bytes()
    reads = []

    class Watched(io.BytesIO):
        def read(self, size=-1):
            reads.append((self.tell(), size))
            return super().read(size)

    (sample,) = index_tar(Watched(data))
    assert (sample.name, sample.annotation.label) == ("a.png", 1)
    with tarfile.open(tmp_path / "x.tar") as tar:
        for member in tar.getmembers()[1:-1]:
            assert not any(start <= member.offset_data < start + size for start, size in reads), (
                member.name
            )


def test_hidden_members_folders_devices_and_names_without_an_ending_are_left_aside(tmp_path):
    file = tmp_path / "x.tar"
    with tarfile.open(file, "w") as tar:
        for name, kind in (("d.png", tarfile.DIRTYPE), ("dev.png", tarfile.CHRTYPE)):
            header = tarfile.TarInfo(name)
            header.type = kind
            tar.addfile(header)
        for name in ("._a.png", "a/.hidden.png", "README", "a.png"):
            header = tarfile.TarInfo(name)
            header.size = len(PNG)
            tar.addfile(header, io.BytesIO(PNG))
    assert [sample.name for sample in index_tar(io.BytesIO(file.read_bytes()))] == ["a.png"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.GNUTYPE_SPARSE])
def test_links_and_sparse_files_are_bad_and_never_lost_without_a_word(tmp_path, kind):
    """GNU tar writes a hard link where two samples are the same file."""
    file = tmp_path / "x.tar"
    with tarfile.open(file, "w") as tar:
        for name in ("a.png", "b.png", "c.png", "c.cls", "d.png"):
            header = tarfile.TarInfo(name)
            if name in ("b.png", "c.cls"):
                header.type, header.linkname = kind, "a.png"
            has_data = header.type in (tarfile.REGTYPE, tarfile.GNUTYPE_SPARSE)
            header.size = len(PNG) * has_data
            tar.addfile(header, io.BytesIO(PNG))
    result = index_tar(io.BytesIO(file.read_bytes()))
    assert [sample.name for sample in result] == ["a.png", "b.png", "c.png", "d.png"]
    assert [bool(sample.annotation.fault) for sample in result] == [False, True, False, False]
    assert result[1].annotation.fault.startswith("a link or sparse")
    assert result[2].annotation.no_label.startswith("its .cls is a link or sparse")


def test_data_of_kinds_that_nobody_knows_are_stepped_over(tmp_path):
    """As of the lists of folders in tar's incremental archives (D)."""
    file = tmp_path / "x.tar"
    with tarfile.open(file, "w") as tar:
        for name, kind in (("list", b"D"), ("a.png", tarfile.REGTYPE)):
            header = tarfile.TarInfo(name)
            header.type, header.size = kind, len(PNG)
            tar.addfile(header, io.BytesIO(PNG))
    assert [sample.name for sample in index_tar(io.BytesIO(file.read_bytes()))] == ["a.png"]


BAD_SAMPLES = {
    "no image": ([("b.cls", b"1")], "b.*", "no images among .cls"),
    "two images": ([("b.png", PNG), ("b.jpg", PNG)], "b.png", "2 images among .png, .jpg"),
    "twice": ([("b.png", PNG), ("b.cls", b"1"), ("b.cls", b"2")], "b.png", "a member twice among"),
    "huge": ([("b.png", bytes(5000))], "b.png", "5000 bytes: more than 4096 are no image"),
}
BAD_LABELS = {
    "not a number": ([("b.cls", b"cat")], "its .cls is no whole number"),
    "negative": ([("b.cls", b"-1")], "its .cls is no whole number"),
    "empty": ([("b.cls", b"")], "its .cls is no whole number"),
    "no text": ([("b.cls", b"\xff")], "its .cls is no UTF-8 text"),
    "long": ([("b.cls", b"1" * 2000)], "its .cls has more than 1024 bytes"),
    "missing": ([], "no label"),
    "no json": ([("b.json", b"{")], "its .json is no JSON object"),
    "json without": ([("b.json", b"{}")], "no label"),
    "json, below zero": ([("b.json", b'{"label": -1}')], "label -1 is no class"),
    "json of another kind": ([("b.json", b'{"label": [1]}')], "label [1] is neither a whole"),
}
BAD_CAPTIONS = {
    "empty": ([("b.txt", b"\n")], "empty caption"),
    "no text": ([("b.txt", b"\xff")], "its .txt is no UTF-8 text"),
    "zeros": ([("b.txt", b"a cat\0\0")], "its .txt holds zeros"),
    "missing": ([("b.cls", b"1")], "no caption"),
    "no json": ([("b.json", b"\x00")], "its .json is no JSON object"),
}


@pytest.fixture
def small_limits(monkeypatch):
    monkeypatch.setattr(tar_index, "MAX_IMAGE", 4096)
    monkeypatch.setattr(tar_index, "MAX_TEXT", 1024)


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("case", BAD_SAMPLES)
def test_a_sample_that_is_none_is_named_and_its_neighbours_are_sound(tmp_path, case):
    rows, name, reason = BAD_SAMPLES[case]
    before, bad, after = indexed([("a.png", PNG), *rows, ("c.png", PNG)], tmp_path)
    assert (before.name, after.name) == ("a.png", "c.png")
    assert before.annotation.fault == after.annotation.fault == ""
    assert bad.name == name
    assert bad.annotation.fault.startswith(reason)


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("case", BAD_LABELS)
def test_a_label_that_is_none_is_missing_with_a_reason(tmp_path, case):
    rows, reason = BAD_LABELS[case]
    _, bad, _ = indexed([("a.png", PNG), ("b.png", PNG), *rows, ("c.png", PNG)], tmp_path)
    assert (bad.annotation.label, bad.annotation.fault) == (None, "")
    assert bad.annotation.no_label.startswith(reason)


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("case", BAD_CAPTIONS)
def test_a_caption_that_is_none_is_missing_with_a_reason(tmp_path, case):
    rows, reason = BAD_CAPTIONS[case]
    _, bad, _ = indexed([("a.png", PNG), ("b.png", PNG), *rows, ("c.png", PNG)], tmp_path)
    assert (bad.annotation.caption, bad.annotation.fault) == (None, "")
    assert bad.annotation.no_caption == reason
