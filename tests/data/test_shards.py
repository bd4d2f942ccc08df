"""Shards on a disk and behind URLs: read at random, and the same as a folder of their images."""

import json
import os
import re
import tarfile
from pathlib import Path

import pytest
import torch

import patch_forcing as pf
from patch_forcing.data import shards, tar_index
from patch_forcing.data.batch import Inferred, ReplacesBadSamples, TrainingData
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.cache import CACHE
from patch_forcing.data.shard_places import RemoteShard
from patch_forcing.data.sources import FolderSource, ShardsSource
from tests.support.image_files import (
    PNG,
    assert_every_bad_file_is_named,
    encoded,
    noise,
    photos,
    samples,
    shard,
    with_every_bad_file,
)
from tests.support.same_runs import same_batches


def test_shards_are_training_data_that_were_looked_at(three):
    data = ShardsSource(str(three)).open()
    assert isinstance(data, TrainingData)
    assert isinstance(data, Inferred)
    assert isinstance(data, ReplacesBadSamples)
    assert data.info.class_names == ("0", "1", "2")
    assert data.summary.splitlines() == [
        "14 images, 3 classes (0 5, 1 5, 2 4), read as 20×20 in colour",
        f"from {three}, 3 tar files: classes by .cls, no captions",
    ]
    assert data.layout.place(6) == str(three / "x-01.tar") + "/0006.png"


def test_they_give_what_a_folder_of_the_same_images_gives(three, tmp_path):
    for i in range(14):
        file = tmp_path / "folder" / f"{i % 3}" / f"{i:04d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded(noise(seed=i)))
    ours = ShardsSource(str(three), flip=False).open().batch(BatchSpec(0, 14, 1))
    theirs = FolderSource(str(tmp_path / "folder"), flip=False).open().batch(BatchSpec(0, 14, 1))
    order, their_order = (batch.x_1.flatten(1).sum(1).argsort() for batch in (ours, theirs))
    assert ours.x_1[order].equal(theirs.x_1[their_order])
    assert ours.condition[order].equal(theirs.condition[their_order])


def test_every_way_to_name_them_means_the_same(three, monkeypatch):
    monkeypatch.chdir(three)
    monkeypatch.setenv("HOME", str(three.parent))
    expected = ShardsSource(str(three)).open().batch(BatchSpec(0, 14, 0))
    for path in (".", "x-{00..02}.tar", "*.tar", "{x-00,x-01,x-02}.tar", "~/three/x-0?.tar",
                 "x-{00..01}.{tar,tar}", "../three"):  # fmt: skip
        result = ShardsSource(path).open().batch(BatchSpec(0, 14, 0))
        assert same_batches(result, expected) == ("01}" not in path), path


@pytest.mark.parametrize("world", range(1, 9))
def test_ranks_read_each_sample_once_and_the_same_whatever_their_number(three, world):
    whole = ShardsSource(str(three)).open()
    parts = [ShardsSource(str(three)).open() for _ in range(world)]
    for step in range(3):
        batches = [
            part.batch(BatchSpec(step, 14, 4).share(rank, world)) for rank, part in enumerate(parts)
        ]
        expected = whole.batch(BatchSpec(step, 14, 4))
        assert torch.cat([batch.x_1 for batch in batches]).equal(expected.x_1)
        assert torch.cat([batch.condition for batch in batches]).equal(expected.condition)
        # an epoch is a batch: each sample once
        assert len(expected.x_1.abs().flatten(1).sum(1).unique()) == 14


def test_bad_samples_of_all_ranks_are_those_of_one(three):
    file = shard(three / "x-03.tar", samples(6, 3, 14) | {"0016.png": b"", "0018.cls": b"?"})
    whole = ShardsSource(str(three)).open()
    expected = whole.batch(BatchSpec(0, 20, 0))
    parts = [ShardsSource(str(three)).open() for _ in range(4)]
    batches = [p.batch(BatchSpec(0, 20, 0).share(r, 4)) for r, p in enumerate(parts)]
    assert torch.cat([batch.x_1 for batch in batches]).equal(expected.x_1)
    named = sorted(bad for part in parts for bad in part.bad_samples())
    assert named == sorted(whole.bad_samples())
    assert named == [
        (f"{file}/0016.png", "empty file"),
        (f"{file}/0018.png", "its .cls is no whole number (for a name: .label)"),
    ]


def test_every_kind_of_bad_file_is_named_as_in_a_folder(tmp_path):
    files = with_every_bad_file()
    (tmp_path / "folder").mkdir()
    for name, data in files.items():
        (tmp_path / "folder" / name).write_bytes(data)
    shard(tmp_path / "x.tar", members(files))
    assert_every_bad_file_is_named(FolderSource(str(tmp_path / "folder"), size=16).open())
    assert_every_bad_file_is_named(ShardsSource(str(tmp_path / "x.tar"), size=16).open())


def members(files):
    """In folders of their kinds: late.png and late.jpg would be one sample."""
    return sorted((f"{Path(name).suffix[1:]}/{name}", data) for name, data in files.items())


def test_captions_of_shards_go_with_their_images(tmp_path):
    rows = {}
    for i in range(6):
        rows |= {f"{i}.png": encoded(noise(seed=i)), f"{i}.txt": f"number {i}".encode()}
    file = shard(tmp_path / "x.tar", rows | {"3.txt": b""})
    data = ShardsSource(str(file)).open()
    assert (data.captioned, data.num_classes) == (True, 0)
    assert set(data.batch(BatchSpec(0, 6, 0)).captions) == {f"number {i}" for i in (0, 1, 2, 4, 5)}
    assert data.bad_samples() == [(f"{file}/3.png", "empty caption")]


def test_names_that_lead_elsewhere_lead_nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["../../../out.png", "/abs/out.png", "a/../../out.png", "C:\\out.png", "\x1b[2J/o.png"]
    shard(tmp_path / "in" / "x.tar", dict.fromkeys(names, PNG))
    before = sorted(tmp_path.rglob("*"))
    data = ShardsSource("in/x.tar").open()
    data.batch(BatchSpec(0, 5, 0))
    assert data.num_samples == 5
    assert data.bad_samples() == []
    assert sorted(tmp_path.rglob("*")) == before
    assert data.layout.place(4) == "in/x.tar/�[2J/o.png"  # nor does one move a cursor


def test_shards_that_are_damaged_or_none_are_named_and_the_rest_is_read(three):
    (three / "x-03.tar").write_bytes(b"")
    (three / "x-04.tar").write_bytes(b"text" * 200)
    with tarfile.open(three / "x-01.tar") as tar:
        end = tar.getmember("0008.png").offset_data + 100
    (three / "x-01.tar").write_bytes((three / "x-01.tar").read_bytes()[:end])
    data = ShardsSource(str(three)).open()
    data.batch(BatchSpec(0, data.num_samples, 0))
    named = {Path(bad.path).name: bad.reason for bad in data.bad_samples()}
    assert named["x-03.tar"] == "empty file"
    assert named["x-04.tar"] == "no tar file"
    assert named["x-01.tar"] == "cut short: its end is missing"
    assert named["0008.png"] == "no label"
    assert len(named) == 4
    free = ShardsSource(str(three), condition="none").open()
    free.batch(BatchSpec(0, free.num_samples, 0))
    named = {Path(bad.path).name: bad.reason for bad in free.bad_samples()}
    assert named["0008.png"] == "truncated: its shard ends before it does"


def test_what_was_found_changes_with_labels_and_names_only(three):
    source = ShardsSource(str(three))
    before = source.open().facts["names"]
    os.utime(three / "x-00.tar")
    assert source.open().facts["names"] == before
    changed = samples(2, 3, 12)
    changed["0012.cls"], changed["0013.cls"] = changed["0013.cls"], changed["0012.cls"]
    shard(three / "x-02.tar", changed)
    assert source.open().facts["names"] != before


def test_a_shard_is_looked_through_once_until_it_changes(three, tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    looked = []

    def watched(stream):
        looked.append(Path(stream.name).name)
        return tar_index.index_tar(stream)

    monkeypatch.setattr(shards, "index_tar", watched)
    first = ShardsSource(str(three)).open()
    assert sorted(looked) == ["x-00.tar", "x-01.tar", "x-02.tar"]
    again = ShardsSource(str(three)).open()
    assert len(looked) == 3
    assert same_batches(first.batch(BatchSpec(0, 14, 0)), again.batch(BatchSpec(0, 14, 0)))
    shard(three / "x-01.tar", samples(3, 3, 5))
    assert ShardsSource(str(three)).open().num_samples == 10
    assert looked[3:] == ["x-01.tar"]
    for damage in (b"", b"{", b"[]", b'{"version": 1}', b"null", b"\xff"):
        for file in (tmp_path / "cache" / "shards").iterdir():
            file.write_bytes(damage)
        looked.clear()
        assert ShardsSource(str(three)).open().num_samples == 10
        assert len(looked) == 3


def test_a_shard_written_anew_is_noticed_though_its_size_and_time_stay(tmp_path):
    file = shard(tmp_path / "x.tar", {"a.png": PNG, "a.cls": b"1"})
    before = file.stat()
    assert ShardsSource(str(file)).open().layout.class_names == ("1",)
    shard(file, {"a.png": PNG, "a.cls": b"2"})
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    assert ShardsSource(str(file)).open().layout.class_names == ("2",)


def test_a_remote_shard_is_another_when_its_server_says_so():
    class Files:
        def info(self, _):
            return {"size": 9, "Last-Modified": self.when}

    files = Files()
    stamps = set()
    for files.when in ("Monday", "Tuesday"):
        stamps.add(RemoteShard("http://x", files, "x").stamp())
    assert len(stamps) == 2


def test_a_cache_that_cannot_be_written_is_done_without(three, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv(CACHE, str(tmp_path / "file"))
    assert ShardsSource(str(three)).open().num_samples == 14


def test_an_index_holds_no_more_than_json(three, tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    ShardsSource(str(three)).open()
    files = sorted((tmp_path / "cache" / "shards").iterdir())
    assert [file.suffix for file in files] == [".json"] * 3
    counts = sorted(len(json.loads(file.read_text())["samples"]) for file in files)
    assert counts == [2, 5, 7]


WRONG = {
    "": r"data\.path is not given: add --data\.path PATH",
    "nowhere": "nowhere is not there: give tar files, or a folder",
    "x-{00..99}.tar": r"data\.path=x-\{00\.\.99\}\.tar: x-00\.tar is not there",
    "x-{9..1}.tar": r"\{9\.\.1\} is no range: write \{000\.\.146\}",
    "x-{0..99999999}.tar": "means more than 1000000 files: write smaller ranges",
    "x-{000000..999999}-{000000..999999}.tar": "means more than 1000000 files",
    "{a,b}" * 40: "means more than 1000000 files",
    f"x-{{0..{'9' * 200}}}.tar": "is not there",
    "~nobody-of-this-name/x.tar": "there is no such user: write it out",
    "pipes": r"pipes/x\.tar cannot be read: not a regular file: mend that, or leave it out",
    "of-a-mac": r"of-a-mac means no tar file",
    "*.tar": r"data\.path=\*\.tar means no tar file: give a folder of \.tar files, or one",
    "empty": "empty means no tar file",
    "pipe:touch owned": "is not there",
    "text": r"no image of text can be read, such as .*text: no tar file",
    "photos": "photos means no tar file",
    "zeros": "no sample in 1 tar files: give others",
}


@pytest.mark.parametrize("path", WRONG)
def test_what_means_no_shards_is_told(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("text" * 200)
    (tmp_path / "zeros").write_bytes(bytes(10240))
    photos(tmp_path / "photos", {"": 1})
    (tmp_path / "pipes").mkdir()
    os.mkfifo(tmp_path / "pipes" / "x.tar")
    (tmp_path / "of-a-mac").mkdir()
    (tmp_path / "of-a-mac" / "._x.tar").write_bytes(b"\0\5\26\7")
    with pytest.raises(pf.UserError, match=WRONG[path]):
        ShardsSource(path).open()
    assert not (tmp_path / "owned").exists()


def test_what_may_be_shards_too_and_is_not_read_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ("b.tar.gz", "c.TGZ", "d.zip", "more/e.tar", "none/f.txt", ".g.tar.gz", ".hidden/h.tar")
    for name in names:
        (tmp_path / "all" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "all" / name).write_bytes(b"x")
    unread = "b.tar.gz, c.TGZ, d.zip (unpack it to .tar); tar files in more (give more/*.tar)"
    with pytest.raises(pf.UserError, match=re.escape(f"a folder of .tar files, or one; {unread}")):
        ShardsSource(path="all", size=16).open()
    shard(tmp_path / "all" / "a.TAR", [("0.png", PNG), ("0.cls", b"3")])
    layout = shards.find_shards("all")
    assert layout.names == ["all/a.TAR/0.png"]
    assert layout.notes.unread == unread
    assert shards.find_shards("all/a.TAR").notes.unread == ""


def test_without_a_home_shards_are_read_without_a_cache(three, monkeypatch):
    expected = ShardsSource(str(three)).open()
    monkeypatch.delenv(CACHE, raising=False)
    monkeypatch.delenv("HOME", raising=False)
    # a user whom the system does not know, as in a container
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)
    with pytest.raises(RuntimeError):
        Path.home()
    opened = ShardsSource(str(three)).open()
    assert same_batches(opened.batch(BatchSpec(0, 9, 2)), expected.batch(BatchSpec(0, 9, 2)))


def test_a_tar_without_samples_is_named_among_others(three):
    (three / "y.tar").write_bytes(bytes(10240))
    shard(three / "z.tar", {"README": b"text"})
    layout = ShardsSource(str(three)).open().layout
    named = {layout.place(number): fault for number, fault in layout.faults.items()}
    assert named == {str(three / name): "no sample in it" for name in ("y.tar", "z.tar")}
