"""Many images by several processes: the same bytes, however it is shared or stopped."""

import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from PIL import Image

import patch_forcing as pf
from patch_forcing.cli.main import run
from patch_forcing.generation.condition_kinds import choose_conditions
from patch_forcing.generation.request import SampleRequest
from patch_forcing.generation.sample_shards import SampleJob, ShardOptions
from patch_forcing.io.ledger import shard_path
from patch_forcing.io.npz import read_about
from tests.support.exact import tiny_dit

SEEDS = [*range(3, 12), 40, 20]
LABELS = [seed % 5 for seed in SEEDS]
OPTIONS = ShardOptions(shard_size=3, batch_size=2)
HOW = {"sampler": "euler", "num_steps": 2, "guidance_scale": 2.0}


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "model"
    tiny_dit().save(folder)
    return pf.load(folder)


def job(pipe, folder, labels=LABELS, seeds=SEEDS, options=OPTIONS, **how):
    sampling = pipe.resolve(SampleRequest(**{**HOW, **how}))
    conditions = choose_conditions(pipe.condition_kind, {"labels": labels})
    return SampleJob(pipe, sampling, conditions, seeds, folder / "a.npz", folder / "out", options)


def files(folder):
    """All files' bytes but for the record, which tells seconds."""
    return {
        file.relative_to(folder): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.name != "samples.json"
    }


@pytest.fixture(scope="module")
def whole(pipe, tmp_path_factory):
    """What one process leaves."""
    folder = tmp_path_factory.mktemp("whole")
    done = job(pipe, folder).run(progress=False)
    assert done == (4, 4, 0, 4.0)
    return folder


def test_the_array_is_what_a_call_gives_in_seed_order(pipe, whole):
    result = pipe(LABELS, SEEDS, **HOW)
    with np.load(whole / "a.npz") as arrays:
        images = arrays["arr_0"]
    assert (images.dtype, images.shape) == (np.uint8, (11, 8, 8, 3))
    expected = result.pixels.permute(0, 2, 3, 1).numpy().astype(int)
    assert np.abs(expected - images).max() <= 1  # other batches round otherwise
    for seed, image in zip(SEEDS, images, strict=True):
        with Image.open(whole / "out" / f"{seed}.png") as picture:
            assert np.array_equal(np.array(picture), image)
    names = {file.name for file in whole.iterdir()}
    assert names == {"a.npz", "out"}
    about = read_about(whole / "a.npz")
    assert (about["seeds"], about["model_hash"]) == ("3-11,40,20", pipe.hash)


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (2, 0, 1), (0, 1, 2, 3, 4, 5)])
def test_any_number_of_processes_leave_the_same_bytes(pipe, whole, tmp_path, order):
    parts = [job(pipe, tmp_path).run(rank, len(order), progress=False) for rank in order]
    # whoever makes the last of the four shards writes the array; who has none finds it, or does not
    last = max(place for place, rank in enumerate(order) if rank < 4)
    assert [part.nfe is not None for part in parts] == [
        place >= last for place in range(len(order))
    ]
    assert sum(part.made for part in parts) == 4
    assert files(tmp_path) == files(whole)


class Stop(BaseException):
    """As Ctrl-C, or worse."""


def stop(*_):
    raise Stop


@pytest.mark.parametrize("after", range(1, 5))
def test_stopped_anywhere_it_goes_on(pipe, whole, tmp_path, monkeypatch, after):
    """By two processes, though one began."""
    calls, sample = count(1), type(pipe).sample

    def stops(*args, **options):
        if next(calls) > after:
            raise Stop
        return sample(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(type(pipe), "sample", stops)
        if after < 4:
            with pytest.raises(Stop):
                job(pipe, tmp_path).run(progress=False)
            assert not (tmp_path / "a.npz").exists()
        else:  # in the end of it all
            patch.setattr("patch_forcing.generation.shard_files.write_npz", stop)
            with pytest.raises(Stop):
                job(pipe, tmp_path).run(progress=False)
    made = [job(pipe, tmp_path).run(rank, 2, progress=False).made for rank in (1, 0)]
    assert sum(made) == max(0, 4 - after)
    assert files(tmp_path) == files(whole)


@pytest.mark.slow
def test_a_killed_process_is_gone_on_with(tmp_path, monkeypatch, capsys):
    """A real one, and SIGKILL, while it writes."""
    monkeypatch.chdir(tmp_path)
    line = ["sample", "digits", "--labels", "all", "--seeds", "0-79", "--steps", "9"]
    line += ["--shard-size", "4", "--device", "cpu", "--no-pngs"]
    process = subprocess.Popen(
        [sys.executable, "-m", "patch_forcing", *line, "--npz", "a.npz"],
        stdout=subprocess.DEVNULL,
    )
    while not shard_path(tmp_path / "a.npz.parts", 1).exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "a.npz").exists()
    run([*line, "--npz", "a.npz"])
    printed = capsys.readouterr().out
    kept = int(printed.split(" were there")[0].rsplit(" ", 1)[1])
    assert 2 <= kept < 20
    assert f"{20 - kept} of 20 shards made" in printed
    run([*line, "--npz", "b.npz"])
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_damaged_shard_is_made_again_and_a_lost_picture_written(pipe, whole, tmp_path):
    job(pipe, tmp_path).run(0, 2, progress=False)
    broken = shard_path(tmp_path / "a.npz.parts", 2) / "images.npy"
    broken.write_bytes(broken.read_bytes()[:-1] + b"?")
    (tmp_path / "out" / "3.png").unlink()  # of a shard that is sound
    with pytest.raises(pf.UserError, match=r"images\.npy is damaged: start the same command"):
        job(pipe, tmp_path).run(1, 2, progress=False)
    assert not (tmp_path / "a.npz").exists()
    done = job(pipe, tmp_path).run(progress=False)
    assert (done.made, done.kept) == (1, 3)
    assert files(tmp_path) == files(whole)


def test_what_is_done_is_not_done_again(pipe, whole, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "copy")
    before = (folder / "a.npz").stat().st_ino
    done = job(pipe, folder).run(1, 3, progress=False)
    assert done == (4, 0, 1, 4.0)
    assert (folder / "a.npz").stat().st_ino == before


def test_processes_that_find_all_shards_at_once_do_not_disturb_each_other(
    pipe, whole, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr("patch_forcing.generation.shard_files.write_npz", stop)
        with pytest.raises(Stop):
            job(pipe, tmp_path).run(progress=False)
    jobs = [job(pipe, tmp_path) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        parts = list(threads.map(lambda rank: jobs[rank].run(rank, 4, progress=False), range(4)))
    assert [part.made for part in parts] == [0, 0, 0, 0]
    assert {part.nfe for part in parts} == {4.0}
    assert files(tmp_path) == files(whole)


CHANGES = {
    "seeds": ({"seeds": [*SEEDS[:-1], 21]}, "seeds='3-11,40,20', now it is '3-11,40,21'"),
    "labels": ({"labels": [2]}, "now it is '2'"),
    "no labels": ({"labels": None, "guidance_scale": 1}, "now it is None"),
    "sampler": ({"sampler": "heun"}, "sampler='euler', now it is 'heun'"),
    "steps": ({"num_steps": 3}, r"grid='0.0,0.5,1.0'"),
    "guidance": ({"guidance_scale": 3.0}, "guidance=2.0, now it is 3.0"),
    "interval": ({"guidance_interval": (0.1, 0.9)}, r"guidance_interval=None, .* \[0.1, 0.9\]"),
    "schedule": ({"guidance_schedule": "linear"}, "guidance_schedule='constant'"),
    "compat": ({"compat": "published"}, "compat=None"),
    "shard size": ({"options": replace(OPTIONS, shard_size=4)}, "shard_size=3, now it is 4"),
}


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("done", [True, False])
def test_other_samples_do_not_go_on_there(pipe, whole, tmp_path, what, done):
    change, message = CHANGES[what]
    folder = tmp_path / "copy"
    if done:
        shutil.copytree(whole, folder)
    else:
        job(pipe, folder).run(0, 3, progress=False)
    before = files(folder)
    with pytest.raises(pf.UserError, match=message):
        job(pipe, folder, **change)
    assert files(folder) == before


def test_another_model_or_another_file_is_an_error(pipe, whole, tmp_path):
    tiny_dit(seed=1).save(tmp_path / "model")
    with pytest.raises(pf.UserError, match=rf"a\.npz holds samples of model_hash='{pipe.hash}'"):
        job(pf.load(tmp_path / "model"), whole)
    with pytest.raises(pf.UserError, match="weak_model_hash=None"):
        job(pipe, whole, autoguidance=pf.load(tmp_path / "model"))
    np.savez(tmp_path / "a.npz", arr_0=np.zeros(3))
    with pytest.raises(pf.UserError, match="does not tell what it holds: name another file"):
        job(pipe, tmp_path)
    for options in ({"shard_size": 0}, {"batch_size": 0}):
        with pytest.raises(pf.UserError, match="out of range: choose 1 or more"):
            ShardOptions(**options)
