"""Model folders: exact round trips, and every kind of damage named by its file."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import patch_forcing as pf
from patch_forcing.models.config import SamplingInfo
from tests.support.exact import tiny_dit

INFO = pf.DataInfo(data_range=(0.0, 16.0), latent_scale=0.18215, class_names=("zero", "ünï", ""))


def tiny(seed: int = 0, **sizes) -> pf.PatchDiT:
    return tiny_dit(**{"input_size": 4, "seed": seed, "hidden_size": 8, "depth": 1, **sizes})


def same_weights(one: pf.PatchDiT, other: pf.PatchDiT) -> bool:
    weights, others = one.state_dict(), other.state_dict()
    return weights.keys() == others.keys() and all(w.equal(others[n]) for n, w in weights.items())


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    tiny().save(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize(
    "sizes",
    [
        {"input_size": 8},
        {"input_size": (4, 8), "patch_size": 4},
        {"num_classes": 0, "predict_difficulty": False},
    ],
)
def test_a_model_comes_back_bit_for_bit(tmp_path, sizes):
    model = tiny(**sizes)
    names = tuple(f"class {n}" for n in range(model.config.num_classes))
    model.data_info = replace(INFO, class_names=names)
    model.save(tmp_path / "model")
    loaded = pf.load_model(tmp_path / "model")
    assert same_weights(loaded, model)
    assert (loaded.config, loaded.data_info) == (model.config, model.data_info)
    assert not loaded.training
    x = torch.randn(2, 3, *model.config.image_size)
    t = torch.rand(2, model.config.num_patches)
    assert loaded(x, t, None).velocity.equal(model(x, t, None).velocity)


def test_a_fitted_time_grid_goes_with_the_model(saved, tmp_path):
    model = pf.load_model(saved)
    assert model.sampling_info.time_quantiles == ()
    assert "sampling" not in json.loads((saved / "config.json").read_text())
    model.sampling_info = SamplingInfo((0.0, 0.1, 0.4, 1.0))
    model.save(tmp_path / "fitted")
    assert pf.load_model(tmp_path / "fitted").sampling_info == model.sampling_info


def test_a_time_grid_that_does_not_rise_is_refused_with_its_file(saved):
    config = json.loads((saved / "config.json").read_text())
    for quantiles in ([0.0, 0.5, 0.5, 1.0], [0.1, 1.0], ["a"], 3):
        config["sampling"] = {"time_quantiles": quantiles}
        (saved / "config.json").write_text(json.dumps(config))
        with pytest.raises(pf.UserError, match=r"config\.json"):
            pf.load_model(saved)


def test_a_folder_holds_two_files_and_plain_json(saved):
    assert sorted(file.name for file in saved.iterdir()) == ["config.json", "model.safetensors"]
    config = json.loads((saved / "config.json").read_text())
    assert config["format_version"] == 1
    assert config["class"] == "PatchDiT"
    assert config["model"]["patch_size"] == 2


def test_weights_in_bf16_come_back_as_fp32(tmp_path):
    model = tiny().bfloat16()
    model.save(tmp_path / "model")
    assert same_weights(pf.load_model(tmp_path / "model"), model.float())


def test_saving_replaces_a_model(saved):
    tiny(seed=1).save(saved)
    assert same_weights(pf.load_model(saved), tiny(seed=1))
    assert [path.name for path in saved.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("present", [[], ["notes.txt"], ["config.json"]])
def test_saving_refuses_a_folder_that_is_no_model(tmp_path, present):
    for name in present:
        (tmp_path / name).write_text("mine")
    with pytest.raises(pf.UserError, match=re.escape(f"{tmp_path} exists")):
        tiny().save(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == present


def test_saving_refuses_a_file(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(pf.UserError, match=re.escape(f"{tmp_path / 'file'} exists")):
        tiny().save(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def fail_at(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, nth: int) -> list[int]:
    """The nth call raises OSError, as on a full disk; gives the list of calls so far."""
    real, calls = getattr(owner, name), []

    def call(*args, **kwargs):
        calls.append(len(calls) + 1)
        if len(calls) == nth:
            raise OSError("no space left on device")
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, call)
    return calls


def test_a_save_that_fails_before_the_end_leaves_the_old_model(saved, monkeypatch):
    with monkeypatch.context() as patch:
        calls = fail_at(patch, os, "fsync", 0)
        tiny().save(saved)
        last = len(calls)
    assert last >= 4  # two files, the folder, its parent
    for nth in range(1, last):
        with monkeypatch.context() as patch:
            fail_at(patch, os, "fsync", nth)
            with pytest.raises(OSError, match="no space"):
                tiny(seed=1).save(saved)
        assert same_weights(pf.load_model(saved), tiny())
        assert [path.name for path in saved.parent.iterdir()] == ["model"]


def test_a_save_whose_rename_fails_leaves_the_old_model(saved, monkeypatch):
    for nth in (1, 2):
        with monkeypatch.context() as patch:
            fail_at(patch, Path, "rename", nth)
            with pytest.raises(OSError, match="no space"):
                tiny(seed=1).save(saved)
        assert same_weights(pf.load_model(saved), tiny())
        assert [path.name for path in saved.parent.iterdir()] == ["model"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(pf.UserError, match=re.escape(f"{tmp_path / 'none'} is not a folder")):
        pf.load_model(tmp_path / "none")


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(pf.UserError, match=re.escape(f"{tmp_path / 'config.json'} is missing")):
        pf.load_model(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(saved, name):
    (saved / name).unlink()
    with pytest.raises(pf.UserError, match=re.escape(f"{saved / name} is missing")):
        pf.load_model(saved)


@pytest.mark.parametrize("kept", [0, 4, 8, 100, 0.5, -1])
def test_truncated_weights_are_named(saved, kept):
    file = saved / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * kept) if kept == 0.5 else kept])
    with pytest.raises(pf.UserError, match=re.escape(f"{file} is truncated or damaged")):
        pf.load_model(saved)


def cut_row(weights: dict[str, Tensor]) -> None:
    weights["blocks.0.mlp.fc1.bias"] = weights["blocks.0.mlp.fc1.bias"][:-1].clone()


def drop(weights: dict[str, Tensor]) -> None:
    del weights["final_layer.linear.bias"]


def add(weights: dict[str, Tensor]) -> None:
    weights["blocks.1.mlp.fc1.bias"] = torch.zeros(3)


def break_one(weights: dict[str, Tensor]) -> None:
    weights["t_embedder.mlp.2.weight"][3, 4] = float("nan")


def overflow(weights: dict[str, Tensor]) -> None:
    weights["x_embedder.proj.weight"][0, 0, 1, 1] = float("inf")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut_row, r"'blocks.0.mlp.fc1.bias' has shape \(31,\), not \(32,\)"),
        (drop, "lacks the tensor 'final_layer.linear.bias'"),
        (add, "'blocks.1.mlp.fc1.bias'"),
        (break_one, "'t_embedder.mlp.2.weight' holds NaN"),
        (overflow, "'x_embedder.proj.weight' holds NaN or infinity"),
    ],
)
def test_wrong_tensors_are_named(saved, damage: Callable, message):
    file = saved / "model.safetensors"
    weights = load_file(file)
    damage(weights)
    save_file(weights, file)
    with pytest.raises(pf.UserError, match=message) as raised:
        pf.load_model(saved)
    assert str(file) in str(raised.value)


def edit_config(folder: Path, edit: Callable[[dict], None]) -> None:
    file = folder / "config.json"
    config = json.loads(file.read_text())
    edit(config)
    file.write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda config: config.update(format_version=2), "format version 2 is unknown"),
        (lambda config: config.update(format_version="1"), "format version '1' is unknown"),
        (lambda config: config.update({"class": "PatchDit"}), "did you mean 'PatchDiT'"),
        (lambda config: config.update({"class": "torch.nn.Linear"}), "unknown class"),
        (lambda config: config.pop("format_version"), "not a model's config"),
        (lambda config: config.pop("model"), "not a model's config"),
        (lambda config: config.update(data=[1, 2]), "not a model's config"),
        (lambda config: config["data"].pop("latent_scale"), "not a model's config"),
        (lambda config: config["model"].update(widht=8), "widht"),
        (lambda config: config["model"].pop("input_size"), "input_size"),
    ],
)
def test_configs_that_do_not_fit_are_named(saved, edit, message):
    edit_config(saved, edit)
    with pytest.raises(pf.UserError, match=message) as raised:
        pf.load_model(saved)
    assert str(saved / "config.json") in str(raised.value)


@pytest.mark.parametrize("sizes", [{"depth": 0}, {"hidden_size": 9}, {"input_size": [5, 4]}])
def test_sizes_that_do_not_fit_name_the_config(saved, sizes):
    edit_config(saved, lambda config: config["model"].update(sizes))
    with pytest.raises(pf.UserError, match=re.escape(str(saved / "config.json"))):
        pf.load_model(saved)


WRONG_KINDS = [
    ("data", "data_range", [1, 0]),
    ("data", "data_range", [1]),
    ("data", "latent_scale", 0),
    ("data", "latent_scale", "x"),
    ("data", "class_names", ["one too few"]),
    ("model", "depth", 1.5),
    ("model", "num_heads", 2.0),
    ("model", "input_size", [4]),
    ("model", "input_size", "4"),
    ("model", "predict_difficulty", "false"),
]

LOAD_ALL = """
import sys, patch_forcing as pf
for folder in sys.argv[1:]:
    try: pf.load_model(folder)
    except pf.UserError as error: print(error)
"""


def test_values_of_the_wrong_kind_name_the_config(tmp_path):
    """In a process of its own: users have no type checker at their borders."""
    folders = [tmp_path / str(n) for n in range(len(WRONG_KINDS))]
    for folder, (part, name, value) in zip(folders, WRONG_KINDS, strict=True):
        tiny().save(folder)
        config = json.loads((folder / "config.json").read_text())
        config[part][name] = value
        (folder / "config.json").write_text(json.dumps(config))
    command = [sys.executable, "-c", LOAD_ALL, *map(str, folders)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(lines) == len(folders)
    for line, folder, (_, _, value) in zip(lines, folders, WRONG_KINDS, strict=True):
        assert line.startswith(f"{folder / 'config.json'}: ")
        wanted = "1 class names for 5 classes" if "few" in str(value) else str(value).strip("[]")
        assert wanted in line


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b'"PatchDiT"', b"\xff\xfe{}"])
def test_malformed_json_is_named(saved, text):
    (saved / "config.json").write_bytes(text)
    match = re.escape(f"{saved / 'config.json'} is not a model's config")
    with pytest.raises(pf.UserError, match=match):
        pf.load_model(saved)
