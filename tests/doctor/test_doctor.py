"""The doctor: what it says of this machine, and of one with each fault."""

import io
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from patch_forcing.cli.main import run
from patch_forcing.core.extras import Requirement, release, requirements
from patch_forcing.doctor import places
from patch_forcing.doctor.devices import devices, memory, multiplies
from patch_forcing.doctor.examine import problems, report
from patch_forcing.doctor.finding import Finding, size
from patch_forcing.doctor.packages import BRINGS, failing_imports, needed, optional
from patch_forcing.doctor.places import compiler, disks, folder_size, home, streams

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="torch uses the GPU that is here")


def test_it_says_what_is_here_and_that_it_works(capsys):
    run(["doctor"])
    printed = capsys.readouterr().out
    assert printed.endswith("what is installed works\n")
    for part in ("versions:\n", "devices:\n", "places:\n", "tools:\n", "optional parts:\n"):
        assert part in printed
    assert f"torch          {torch.__version__.partition('+')[0]}\n" in printed


def test_programs_read_the_same(capsys):
    run(["doctor", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert (result["status"], result["problems"]) == ("ok", [])
    assert result["devices"]["cpu"]["value"]["computes"]
    assert result["versions"]["torch"]["value"] == torch.__version__.partition("+")[0]
    assert set(result["optional parts"]) == set(PROJECT["optional-dependencies"])
    hub = result["optional parts"]["hub"]["value"]
    assert (hub["state"], hub["missing"]) == ("there", [])
    assert hub["get"].startswith("pip install")
    assert result["places"]["working folder"]["value"]["free"] > 0


def test_every_extra_is_listed_with_its_packages_and_what_it_brings():
    packages = requirements()
    assert packages.keys() == {"", *PROJECT["optional-dependencies"]}
    assert Requirement("torch", (2, 10)) in packages[""]
    assert Requirement("fsspec", (2024, 6)) in packages["shards"]
    assert set(PROJECT["optional-dependencies"]) == set(BRINGS)


def test_versions_are_compared_by_their_numbers():
    assert release("2.10.0+cpu") == (2, 10, 0)
    assert release("2.9.1.dev3") < release("2.10")
    assert release("unknown") == ()
    assert Requirement("torch", (2, 10)).text == "torch>=2.10"


def install(folder, monkeypatch, name, version, code=None):
    """A package that is found before any other of its name; without code, its files are gone."""
    about = folder / f"{name}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (about / "RECORD").write_text(f"{name}/__init__.py,,\n")
    if code is not None:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(code)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=":")


def extra(name):
    return next(one for one in optional() if one.name == name)


def test_an_old_package_is_as_good_as_none_and_one_without_its_files_is_broken(
    tmp_path, monkeypatch
):
    install(tmp_path, monkeypatch, "trackio", "0.1.2", "")
    old = extra("trackio")
    assert (old.value["state"], old.problem) == ("missing", "")
    assert old.hint.startswith("trackio (too old): pip install ")
    assert old.hint.endswith(" -U")
    install(tmp_path, monkeypatch, "wandb", "9.1", None)
    assert "wandb 9.1 cannot be imported (its files are missing): pip " in extra("wandb").problem


def test_a_package_that_cannot_be_imported_is_broken(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, "wandb", "9.1", "raise OSError('libx.so: no such file')")
    assert extra("wandb").problem == ""  # not imported unless that is wanted
    (problem,) = failing_imports([Requirement("wandb", ())])
    assert problem.startswith("wandb 9.1 cannot be imported (OSError: libx.so: no such file): pip ")
    install(tmp_path, monkeypatch, "trackio", "9.1", "")
    assert failing_imports([Requirement("trackio", ())]) == []


def test_what_is_always_needed_has_to_be_there_and_new_enough(tmp_path, monkeypatch):
    wanted = [Requirement("no-such-package", ()), Requirement("wandb", (9, 2)),
              Requirement("trackio", ()), Requirement("torch", (2, 10))]  # fmt: skip
    monkeypatch.setattr("patch_forcing.doctor.packages.requirements", lambda: {"": wanted})
    install(tmp_path, monkeypatch, "wandb", "9.1", "")
    install(tmp_path, monkeypatch, "trackio", "9.1", "raise OSError('no libx.so')")
    missing, old, broken, torch_itself = needed()
    assert missing.problem == "no-such-package is missing: pip install -U 'no-such-package'"
    assert old.problem == "wandb 9.1 is too old: pip install -U 'wandb>=9.2'"
    assert broken.problem.startswith("trackio 9.1 cannot be imported (no libx.so): pip install ")
    assert torch_itself.problem == ""


def test_what_is_missing_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("patch_forcing.doctor.packages.requirements", lambda: {
        "wandb": [Requirement("no-such-package", ()), Requirement("torch", (2, 10))]
    })  # fmt: skip
    (finding,) = optional()
    assert (finding.value["state"], finding.value["missing"]) == ("in part", ["no-such-package"])
    assert finding.hint.startswith("no-such-package: pip install ")
    assert finding.problem == ""


def test_a_device_has_to_multiply():
    assert multiplies("cpu") == ""
    assert multiplies("meta") != ""
    assert multiplies("cuda:63") != ""


def nvidia(folder, monkeypatch, lines):
    """NVIDIA's tool, which lists GPUs."""
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\nprintf '{lines}'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


@no_gpu
def test_a_gpu_that_torch_does_not_use_is_broken_unless_it_is_hidden(tmp_path, monkeypatch, capsys):
    nvidia(tmp_path, monkeypatch, "GPU 0: NVIDIA H200 (UUID: GPU-1)\\n")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(SystemExit) as end:
        run(["doctor"])
    assert end.value.code == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("broken: torch")
    assert "GPU: " in last
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    gpu = next(one for one in devices() if one.name == "gpu")
    assert (gpu.text, gpu.problem) == ("GPU 0: NVIDIA H200, hidden", "")
    assert "unset that to use it" in gpu.hint


@no_gpu
def test_a_machine_without_a_gpu_says_what_torch_was_built_for(tmp_path, monkeypatch):
    nvidia(tmp_path, monkeypatch, "")
    gpu = next(one for one in devices() if one.name == "gpu")
    assert gpu.text.startswith("none: torch, built for C")
    assert gpu.problem == gpu.hint == ""


def test_memory_is_what_the_machine_has():
    (finding,) = memory()
    assert 1e8 < finding.value["limit"] <= finding.value["total"]


def test_files_of_a_folder_are_counted_without_links_and_not_for_long(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"12345")
    (tmp_path / "y").write_bytes(b"123")
    (tmp_path / "z").symlink_to(tmp_path / "y")
    assert folder_size(tmp_path) == (8, True)
    assert folder_size(tmp_path / "none") == (0, True)
    monkeypatch.setattr(places, "COUNTING", -1.0)
    assert folder_size(tmp_path) == (0, False)


def test_caches_are_named_with_their_sizes(monkeypatch, tmp_path):
    monkeypatch.setenv("PATCH_FORCING_CACHE", str(tmp_path / "mine"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x").write_bytes(b"x" * 1500)
    _, own, hub = disks()
    assert own.text == f"{tmp_path / 'mine'}, 1.5 kB"
    assert hub.value["folder"].endswith("hub")


def test_a_user_without_a_home_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert home() == Finding("home", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "gone"))
    assert "has no home, so no cache is kept: set HOME, or PATCH_FORCING_CACHE" in home().hint
    monkeypatch.delenv("HOME")
    assert "set HOME, or " in home().hint


def test_a_missing_compiler_and_poor_encodings_are_told(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert compiler().value["compiler"] is None
    assert "--compile does not work: install g++" in compiler().hint
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert streams().hint == "stdout write other letters as escapes: set PYTHONUTF8=1"


def test_sizes_are_in_words():
    assert [size(x) for x in (0, 999, 1500, 2.5e6, 3e9, 4e12)] == [
        "0 bytes", "999 bytes", "1.5 kB", "2.5 MB", "3.0 GB", "4.0 TB",
    ]  # fmt: skip


def test_what_is_broken_comes_first_for_programs():
    sections = {"a": [Finding("x", "1"), Finding("y", "2", problem="y: mend it")]}
    assert problems(sections) == ["y: mend it"]
    rows = {"x": {"value": "1"}, "y": {"value": "2", "problem": "y: mend it"}}
    assert report(sections) == {"status": "broken", "problems": ["y: mend it"], "a": rows}


@pytest.mark.slow  # a process of its own, to see what it loads
def test_nothing_large_but_torch_is_loaded(tmp_path):
    script = (
        "import sys; from patch_forcing.cli.main import run; run(['doctor']); "
        "assert not {'transformers', 'diffusers', 'sklearn', 'gradio'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stderr
