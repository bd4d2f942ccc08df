"""Files and folders are complete or absent, and checksums find one flipped bit."""

import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patch_forcing.core.errors import UserError
from patch_forcing.io.atomic import (
    MANIFEST,
    atomic_folder,
    broken_file,
    is_aside,
    remove_folder,
    remove_leftovers,
    sha256,
    write_atomic,
    write_manifest,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_gets_its_name_only_when_the_block_ends(tmp_path):
    with atomic_folder(tmp_path / "deep" / "run") as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "file").write_text("whole")
        assert folder.parent == tmp_path / "deep"
        assert not (tmp_path / "deep" / "run").exists()
    assert names(tmp_path / "deep") == ["run"]
    assert (tmp_path / "deep" / "run" / "sub" / "file").read_text() == "whole"


def test_a_folder_whose_block_raises_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="half-way"), atomic_folder(tmp_path / "run") as folder:
        (folder / "file").write_text("half")
        raise RuntimeError("half-way")
    assert names(tmp_path) == []


def test_an_interrupted_replacement_leaves_the_old_folder(tmp_path):
    old = tmp_path / "run"
    old.mkdir()
    (old / "file").write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_folder(old, replace=True) as folder:
        (folder / "file").write_text("new")
        raise KeyboardInterrupt
    assert names(tmp_path) == ["run"]
    assert (old / "file").read_text() == "old"


def test_a_replacement_keeps_nothing_of_the_old_folder(tmp_path):
    for name in ("old", "new"):
        with atomic_folder(tmp_path / "run", replace=True) as folder:
            (folder / name).write_text(name)
    assert names(tmp_path) == ["run"]
    assert names(tmp_path / "run") == ["new"]


def test_an_existing_folder_is_not_replaced_unasked(tmp_path):
    with pytest.raises(UserError, match="exists"), atomic_folder(tmp_path):
        pytest.fail("the block runs")
    assert tmp_path.exists()


@pytest.mark.parametrize("rename", [1, 2])
def test_a_replacement_whose_renaming_fails_leaves_the_old_folder(tmp_path, monkeypatch, rename):
    with atomic_folder(tmp_path / "run") as folder:
        (folder / "file").write_text("old")
    renamed, real = [], Path.rename

    def fail_once(path: Path, target: Path) -> Path:
        renamed.append(path)
        if len(renamed) == rename:
            raise OSError("input/output error")
        return real(path, target)

    monkeypatch.setattr(Path, "rename", fail_once)
    with (
        pytest.raises(OSError, match="input/output"),
        atomic_folder(tmp_path / "run", replace=True) as folder,
    ):
        (folder / "file").write_text("new")
    assert names(tmp_path) == ["run"]
    assert (tmp_path / "run" / "file").read_text() == "old"


@pytest.mark.parametrize("replaces", [False, True])
def test_every_file_and_folder_is_on_disk_before_the_name(tmp_path, monkeypatch, replaces):
    synced, real, run = [], os.fsync, tmp_path / "run"

    def fsync(handle: int) -> None:
        file = Path(f"/proc/self/fd/{handle}").readlink()
        synced.append((file, (run / "sub").exists()))
        real(handle)

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc to see which file a handle is")
    if replaces:
        run.mkdir()
    monkeypatch.setattr(os, "fsync", fsync)
    with atomic_folder(run, replace=replaces) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "file").write_text("whole")
    before = {path.name for path, named in synced if not named}
    assert before == {"sub", "file", folder.name}
    assert [path for path, named in synced if named] == [tmp_path]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r")))
def test_a_file_is_written_whole_in_utf8(tmp_path_factory, text):
    file = tmp_path_factory.mktemp("atomic") / "deep" / "file.json"
    for content in ("before", text):
        write_atomic(file, content)
    assert file.read_bytes().decode("utf-8") == text
    assert names(file.parent) == ["file.json"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch, failing):
    def fail(*_):
        raise OSError("no space left on device")

    write_atomic(tmp_path / "file", "old")
    monkeypatch.setattr(os if failing == "fsync" else Path, failing, fail)
    with pytest.raises(OSError, match="no space"):
        write_atomic(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "old"
    assert names(tmp_path) == ["file"]


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.bin").write_bytes(bytes(range(64)))
    (tmp_path / "sub" / "b.txt").write_text("text")
    (tmp_path / "empty").touch()
    write_manifest(tmp_path)
    return tmp_path


def test_sha256_is_the_standard_digest(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256(tmp_path / "abc") == digest


def test_the_manifest_lists_size_and_digest_of_every_file(listed):
    rows = json.loads((listed / MANIFEST).read_text())
    assert {name: row["bytes"] for name, row in rows.items()} == {
        "a.bin": 64,
        "empty": 0,
        "sub/b.txt": 4,
    }
    assert all(row["sha256"] == sha256(listed / name) for name, row in rows.items())
    assert broken_file(listed) is None


def test_a_manifest_written_again_still_holds(listed):
    write_manifest(listed)
    assert broken_file(listed) is None


def test_one_flipped_bit_is_found(listed):
    file = listed / "a.bin"
    whole = file.read_bytes()
    for bit in range(0, 8 * len(whole), 37):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        assert broken_file(listed) == file
    file.write_bytes(whole)
    assert broken_file(listed) is None


@pytest.mark.parametrize("name", ["a.bin", "sub/b.txt"])
def test_truncation_is_found(listed, name):
    (listed / name).write_bytes((listed / name).read_bytes()[:-1])
    assert broken_file(listed) == listed / name


def test_growth_is_found(listed):
    (listed / "empty").write_bytes(b"\0")
    assert broken_file(listed) == listed / "empty"


@pytest.mark.parametrize("name", ["a.bin", "sub/b.txt", "empty", MANIFEST])
def test_a_missing_file_is_found(listed, name):
    (listed / name).unlink()
    assert broken_file(listed) == listed / name


@pytest.mark.parametrize("text", ["", "[1]", "null", '{"a.bin": {}}', '{"a.bin": 3}'])
def test_an_unreadable_manifest_is_the_broken_file(listed, text):
    (listed / MANIFEST).write_text(text)
    assert broken_file(listed) == listed / MANIFEST


def test_a_manifest_cut_anywhere_is_the_broken_file(listed):
    whole = (listed / MANIFEST).read_bytes()
    for kept in range(len(whole)):
        (listed / MANIFEST).write_bytes(whole[:kept])
        assert broken_file(listed) == listed / MANIFEST


def test_leftovers_of_a_killed_write_are_removed_and_nothing_else(tmp_path):
    left = atomic_folder(tmp_path / "run")
    (left.__enter__() / "file").write_text("half")
    (tmp_path / ".partial-file-0123abcd").write_text("half")
    (tmp_path / "kept").mkdir()
    write_atomic(tmp_path / "file", "whole")
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["file", "kept"]


def test_leftovers_of_one_name_are_removed_and_those_of_others_stay(tmp_path):
    for name in ("file", "other"):
        (tmp_path / f".partial-{name}-0123abcd").write_text("half")
    remove_leftovers(tmp_path, "file")
    assert names(tmp_path) == [".partial-other-0123abcd"]


def test_a_folder_loses_its_name_before_any_of_its_files(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("input/output error")

    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "file").write_text("whole")
    with monkeypatch.context() as broken:
        broken.setattr(shutil, "rmtree", fail)
        with pytest.raises(OSError, match="input/output"):
            remove_folder(tmp_path / "run")
    (aside,) = tmp_path.iterdir()
    assert is_aside(aside)
    assert names(aside) == ["file"]
    remove_leftovers(tmp_path, "run")
    assert names(tmp_path) == []
