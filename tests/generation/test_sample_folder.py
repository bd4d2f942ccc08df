"""Samples are written beside nothing of others, and a folder holds one command's samples."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import patch_forcing as pf
from patch_forcing.cli.main import run
from patch_forcing.generation.sample_folder import SampleFolder
from tests.support.exact import tiny_dit
from tests.support.image_files import PNG


@pytest.fixture
def sample(tmp_path, monkeypatch):
    """Run the command on a small model, in an empty folder."""
    tiny_dit().save(tmp_path / "model")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def make(options: str) -> None:
        how = "--labels 3 --sampler euler --steps 1 --device cpu"
        run(["sample", str(tmp_path / "model"), *how.split(), *options.split()])

    return make


def content(folder):
    """Every file, hidden ones too, and what it holds; a folder holds nothing."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


ROWS_OF_OTHERS = ('[{"seed": 0}]', "[0]", "{}", "no JSON", "[null]", '[{"seed": 0, "file": "0"}]')
OF_OTHERS = ("0.png", "5.png", "00.png", "photo.JPG", "a.webp", "1.PNG")
OF_OTHERS += ("sheets/sheet.png", "sheets/maps.png", "sheet.png", "sheets")


@pytest.mark.parametrize("name", OF_OTHERS)
@pytest.mark.parametrize("how", ["", "--npz a.npz", "--maps"])
def test_images_of_others_are_refused_before_any_work(sample, name, how):
    out = Path("mine")
    (out / name).parent.mkdir(parents=True)
    (out / name).write_bytes(PNG)
    before = content(Path.cwd())
    with pytest.raises(pf.UserError, match=rf"{name} is there, and no samples\.json of this"):
        sample(f"--out mine --seeds 0-1 {how}")
    assert content(Path.cwd()) == before


@pytest.mark.parametrize("text", ROWS_OF_OTHERS)
@pytest.mark.parametrize("image", [True, False])
def test_a_samples_json_of_others_is_refused_and_lists_nothing(sample, text, image):
    Path("samples.json").write_text(text)
    if image:
        Path("0.png").write_bytes(PNG)
    before = content(Path.cwd())
    with pytest.raises(pf.UserError, match="choose another --out"):
        sample("--out . --seeds 0-1")
    assert content(Path.cwd()) == before


def test_an_image_that_samples_json_does_not_list_is_refused(sample):
    sample("--seeds 0-1")
    Path("samples/2.png").write_bytes(PNG)
    before = content(Path.cwd())
    for seeds in ("0-1", "0-2", "5"):
        with pytest.raises(pf.UserError, match=r"2\.png is there"):
            sample(f"--seeds {seeds}")
    assert content(Path.cwd()) == before


def test_other_files_stay_and_are_no_hindrance(sample):
    for name in ("notes.txt", ".hidden.png", "deep/0.png", "sheets/notes.txt"):
        (Path("samples") / name).parent.mkdir(parents=True, exist_ok=True)
        (Path("samples") / name).write_text(name)
    sample("--seeds 0-1 --maps")
    sample("--seeds 4")
    assert {name for name, data in content(Path("samples")).items() if data is not None} == {
        *("4.png", "samples.json", "sheets/sheet.png"),
        *("notes.txt", ".hidden.png", "deep/0.png", "sheets/notes.txt"),
    }
    assert Path("samples/.hidden.png").read_text() == ".hidden.png"


def test_a_folder_holds_the_last_samples_alone(sample):
    """As many images as rows; a sheet or maps of earlier ones do not stay."""
    sample("--seeds 0-3 --maps")
    sample("--seeds 2-4")
    assert content(Path("samples")).keys() == {
        *("2.png", "3.png", "4.png", "samples.json", "sheets", "sheets/sheet.png")
    }
    rows = json.loads(Path("samples/samples.json").read_text())
    assert [row["seed"] for row in rows] == [2, 3, 4]


def test_samples_as_they_lay_before_give_way(sample):
    sample("--seeds 0-1 --maps")
    for name in ("sheet", "maps"):
        Path(f"samples/sheets/{name}.png").rename(f"samples/{name}.png")
    Path("samples/sheets").rmdir()
    sample("--seeds 0")
    assert content(Path("samples")).keys() == {
        "0.png",
        "samples.json",
        "sheets",
        "sheets/sheet.png",
    }


def test_what_a_stopped_command_left_gives_way(sample):
    with SampleFolder(Path("samples")).claimed([0, 1, 7]):
        Path("samples/7.png").write_bytes(PNG)
    sample("--seeds 0-1")
    assert content(Path("samples")).keys() == {
        *("0.png", "1.png", "samples.json", "sheets", "sheets/sheet.png")
    }


@pytest.mark.parametrize("job", [None, {"sampler": "euler"}])
def test_while_a_command_writes_others_are_refused(sample, job):
    """Of two that were started at once, one writes all, and the other says so."""
    folder = SampleFolder(Path("samples"))
    refusal = r"another command writes samples into samples: wait for it, or choose another --out"
    with folder.claimed([0, 1], job):
        Path("samples/0.png").write_bytes(PNG)
        before = content(Path("samples"))
        with pytest.raises(pf.UserError, match=refusal):
            sample("--seeds 0-1")
        with pytest.raises(pf.UserError, match=refusal):
            sample("--seeds 0-1 --npz a.npz")
        assert content(Path("samples")) == before
    sample("--seeds 0-1 --npz a.npz")
    assert Path("samples/0.png").read_bytes() != PNG


def test_processes_of_one_job_write_together(tmp_path):
    job, folder = {"seeds": "0-1"}, SampleFolder(tmp_path / "samples")
    with folder.claimed([0, 1], job):
        folder.image(0).write_bytes(PNG)
        with folder.claimed([0, 1], job):
            assert folder.image(0).exists()
        with (
            pytest.raises(pf.UserError, match="another command writes samples"),
            folder.claimed([0, 1], {"seeds": "0-2"}),
        ):
            pass
    with folder.claimed([0, 1], {"seeds": "0-2"}):
        assert not folder.image(0).exists()


def pixels(file):
    with Image.open(file) as image:
        return np.array(image)


@pytest.mark.parametrize("before", ["", "--seeds 0-5 --guidance 3", "--maps --seeds 0-9"])
@pytest.mark.parametrize("stopped", [False, True])
def test_another_out_becomes_that_of_the_array(sample, monkeypatch, before, stopped):
    """Whatever lay there of other samples, and whether the array is there or begun."""
    line = "--seeds 0-4 --npz a.npz --shard-size 2"
    sample(f"{line} --out whole")
    if before:
        sample(f"{before} --out other")
    if stopped:
        Path("a.npz").unlink()
        monkeypatch.setenv("RANK", "1")
        monkeypatch.setenv("WORLD_SIZE", "3")
        sample(f"{line} --out begun")
        monkeypatch.delenv("RANK")
    sample(f"{line} --out other")
    images = np.load("a.npz")["arr_0"]
    assert {name for name in content(Path("other")) if name != "sheets"} == {
        *(f"{seed}.png" for seed in range(5)), "samples.json", "sheets/sheet.png",
    }  # fmt: skip
    for seed in range(5):
        assert np.array_equal(pixels(f"other/{seed}.png"), images[seed])
    assert np.array_equal(pixels("other/sheets/sheet.png"), pixels("whole/sheets/sheet.png"))
    rows, same = (json.loads(Path(f"{one}/samples.json").read_text()) for one in ("other", "whole"))
    assert [row | {"seconds": 0} for row in rows] == [row | {"seconds": 0} for row in same]
    assert (rows[0]["seconds"] is None) == (not stopped)


def test_a_picture_that_is_not_the_arrays_is_written_again(sample):
    line = "--seeds 0-4 --npz a.npz --shard-size 2 --maps"
    sample(line)
    whole = content(Path("samples"))
    Path("samples/0.png").unlink()
    Path("samples/3.png").write_bytes(PNG)
    Path("samples/sheets/maps.png").unlink()
    sample(line)
    assert content(Path("samples")) == whole


def test_an_array_is_not_unpacked_over_images_of_others(sample):
    sample("--seeds 0-1 --npz a.npz")
    Path("mine").mkdir()
    Path("mine/0.png").write_bytes(PNG)
    before = content(Path.cwd())
    with pytest.raises(pf.UserError, match=r"mine/0\.png is there"):
        sample("--seeds 0-1 --npz a.npz --out mine")
    assert content(Path.cwd()) == before
