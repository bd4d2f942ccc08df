"""A job's folder: whose it is, and which of its shards are sound."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

import patch_forcing as pf
from patch_forcing.io.atomic import atomic_folder, locked, write_manifest, write_once
from patch_forcing.io.ledger import Ledger, shard_path


def ledger(folder, **plan):
    return Ledger(folder, "plan.json", {"size": 1, **plan}, "samples", "--npz")


def write(folder, number):
    with atomic_folder(shard_path(folder, number)) as shard:
        (shard / "data").write_text("whole")
        write_manifest(shard)


def test_missing_and_damaged_shards_are_named_and_the_damaged_removed(tmp_path):
    job = ledger(tmp_path / "job")
    job.check()
    assert not job.folder.exists()
    job.begin()
    assert job.missing(range(4)) == [0, 1, 2, 3]
    for number in range(3):
        write(job.folder, number)
    (shard_path(job.folder, 1) / "data").write_text("wrong")
    (job.folder / "shards" / ".partial-shard-00003-dead").mkdir()
    assert job.missing(range(0, 4, 2)) == []
    assert job.missing(range(1, 4, 2)) == [1, 3]
    names = sorted(path.name for path in (job.folder / "shards").iterdir())
    assert names == ["shard-00000", "shard-00002"]
    assert (job.complete(1), job.complete(3)) == (True, False)


def test_another_job_or_other_files_are_an_error(tmp_path):
    ledger(tmp_path / "job").begin()
    with pytest.raises(pf.UserError, match=r"holds samples of size=1, now it is 2: use the same"):
        ledger(tmp_path / "job", size=2).check()
    (tmp_path / "job" / "plan.json").write_text("{")
    with pytest.raises(pf.UserError, match=r"plan\.json is damaged"):
        ledger(tmp_path / "job").check()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / ".partial-plan.json-dead").write_text("of another process, just now")
    ledger(tmp_path / "full").check()
    (tmp_path / "full" / "thesis.tex").write_text("mine")
    with pytest.raises(pf.UserError, match="is not empty and holds no samples"):
        ledger(tmp_path / "full").check()


def test_of_jobs_that_begin_at_once_one_holds_and_the_others_are_told(tmp_path):
    def begin(size):
        try:
            ledger(tmp_path / "job", size=size).begin()
        except pf.UserError:
            return None
        return size

    with ThreadPoolExecutor(8) as threads:
        began = {size for size in threads.map(begin, range(8)) if size is not None}
    assert began == {json.loads((tmp_path / "job" / "plan.json").read_text())["size"]}


@pytest.mark.parametrize("links", [True, False])
def test_the_first_text_stays(tmp_path, monkeypatch, links):
    def no_links(*_):
        raise PermissionError

    if not links:
        monkeypatch.setattr("os.link", no_links)
    for text in ("first", "second"):
        write_once(tmp_path / "file", text)
    assert (tmp_path / "file").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_lock_is_held_by_one_at_a_time(tmp_path):
    inside, most = [], []

    def enter(number):
        with locked(tmp_path / "lock"):
            inside.append(number)
            most.append(len(inside))
            inside.remove(number)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(enter, range(200)))
    assert max(most) == 1
