"""Folders of pipelines, here and on the Hub: how diffusers finds classes, and what is refused."""

import json
import sys

import diffusers
import pytest
import torch
from diffusers import AutoModel, DiffusionPipeline

import patch_forcing as pf
import patch_forcing.diffusers as ours
from tests.support.hub import Repository

Pipe = ours.PatchForcingPipeline


def test_diffusers_finds_the_classes_after_the_import(saved, pipe):
    wanted = pipe.transformer.state_dict()
    for model in (
        AutoModel.from_pretrained(str(saved), subfolder="transformer"),
        AutoModel.from_pretrained(str(saved / "transformer")),
        DiffusionPipeline.from_pretrained(saved).transformer,
    ):
        assert type(model) is ours.PatchForcingTransformer2DModel
        assert not model.training
        weights = model.state_dict()
        assert weights.keys() == wanted.keys()
        assert all(torch.equal(weights[name], wanted[name]) for name in wanted)


def test_without_the_import_the_errors_of_diffusers_name_it(saved, monkeypatch):
    monkeypatch.delitem(sys.modules, "patch_forcing.diffusers")
    for kind in (Pipe, ours.PatchForcingTransformer2DModel):
        monkeypatch.delattr(diffusers, kind.stored_name())
    for load in (
        lambda: DiffusionPipeline.from_pretrained(saved),
        lambda: AutoModel.from_pretrained(str(saved / "transformer")),
    ):
        with pytest.raises((AttributeError, ValueError), match=r"patch_forcing\.diffusers"):
            load()


def index(**changes):
    def change(folder):
        file = folder / "model_index.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return change


def network_config(**changes):
    def change(folder):
        file = folder / "transformer/config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return change


def pickled(folder):
    weights = folder / "transformer/diffusion_pytorch_model.safetensors"
    torch.save({}, weights.with_suffix(".bin"))
    weights.unlink()


def cut(folder):
    weights = folder / "transformer/diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])


CODE = "code of a model is never run here"


@pytest.mark.parametrize(
    "damage, line",
    [
        (index(_class_name="StableDiffusionPipeline"), "is of the class StableDiffusionPipeline"),
        (index(_class_name=["mine", "PatchForcingPipeline"]), CODE),
        (index(transformer=["mine", "PatchForcingTransformer2DModel"]), CODE),
        (index(safety=["diffusers", "UNet2DModel"]), CODE),
        (index(vae=["os", "system"]), CODE),
        (lambda folder: (folder / "model_index.json").write_text("[]"), "is not a JSON object"),
        (lambda folder: (folder / "model_index.json").unlink(), "model_index.json is missing"),
        (lambda folder: (folder / "transformer/mine.py").touch(), CODE),
        (network_config(auto_map={"AutoModel": "mine.Model"}), CODE),
        (network_config(_class_name="UNet2DModel"), "is of the class UNet2DModel"),
        (network_config(hidden_size=30), "hidden_size=30 is not divisible"),
        (network_config(depth=3), "lacks the tensor 'dit.blocks.2."),
        (network_config(num_classes=7, data=None), "cannot be loaded"),
        (pickled, "diffusion_pytorch_model.bin is a pickle, which is never read"),
        (cut, "cannot be loaded"),
    ],
)
def test_a_bad_folder_is_one_line_and_nothing_is_run(saved, tmp_path, damage, line):
    folder = tmp_path / "pipeline"
    for file in saved.rglob("*.*"):
        if file.is_file():
            copy = folder / file.relative_to(saved)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    damage(folder)
    with pytest.raises(pf.UserError) as error:
        Pipe.from_pretrained(folder)
    assert line in str(error.value) and "\n" not in str(error.value)


def test_code_and_pickles_are_refused_though_asked_for(saved, folder):
    for option in ({"trust_remote_code": True}, {"custom_pipeline": "mine"}):
        for load in (Pipe.from_pretrained, ours.PatchForcingTransformer2DModel.from_pretrained):
            with pytest.raises(pf.UserError, match=CODE):
                load(saved, **option)
    with pytest.raises(pf.UserError, match="pickles are never read"):
        Pipe.from_pretrained(saved, use_safetensors=False)
    with pytest.raises(pf.UserError, match="from_patch_forcing"):
        Pipe.from_pretrained(folder)
    with pytest.raises(pf.UserError, match="is not there: give the folder of a pipeline"):
        Pipe.from_pretrained(saved / "nothing" / "here")


def test_pipelines_on_the_hub_are_loaded_without_their_code_and_pickles(hub, saved, pipe):
    files = {str(f.relative_to(saved)): f.read_bytes() for f in saved.rglob("*.*") if f.is_file()}
    code = {"pipeline.py": b"raise", "transformer/mine.py": b"raise", "transformer/a.bin": b"x"}
    repository = hub.repositories["me/tiny"] = Repository()
    repository.commit(files | code)
    options = {"class_labels": 2, "seeds": [3], "nfe": 2}
    there = Pipe.from_pretrained("me/tiny")
    assert there.name_or_path == "me/tiny"
    images = [one(**options, output_type="pt").images for one in (there, pipe)]
    assert torch.equal(*images)
    asked = [line.partition("/resolve/")[2] for line in hub.asked if "/resolve/" in line]
    assert {line.partition("/")[2] for line in asked} == files.keys()
    model = AutoModel.from_pretrained("me/tiny", subfolder="transformer")
    assert type(model) is ours.PatchForcingTransformer2DModel
    repository.commit({"transformer/config.json": b"{}"}, "v2")
    for name, options in (("me/tiny@v2", {}), ("me/tiny", {"revision": "v2"})):
        with pytest.raises(pf.UserError, match="is of the class None"):
            Pipe.from_pretrained(name, **options)


@pytest.mark.parametrize(
    "files, options, line",
    [
        ({"config.json": b"{}", "model.safetensors": b""}, {}, "from_patch_forcing does"),
        ({"pytorch_model.bin": b"x"}, {}, "model_index.json is missing"),
        ({}, {"token": "hf_x"}, "token for me/other: log in with hf auth login"),
        ({}, {"revision": "none"}, "none"),
    ],
    ids=str,
)
def test_what_the_hub_cannot_give_is_one_line(hub, files, options, line):
    hub.repositories["me/other"] = Repository()
    hub.repositories["me/other"].commit({"README.md": b"", **files})
    with pytest.raises(pf.UserError) as error:
        Pipe.from_pretrained("me/other", **options)
    assert line in str(error.value) and "\n" not in str(error.value)
