"""What needs accelerate: loading without a second copy, offloading, the training loop."""

import importlib.util
from pathlib import Path

import pytest
import torch
from PIL import Image

import patch_forcing as pf

pytest.importorskip("accelerate")

import patch_forcing.diffusers as ours
from tests.support.exact import tiny_dit

EXAMPLE = Path(__file__).parent.parent.parent / "examples/finetune_diffusers.py"
Pipe = ours.PatchForcingPipeline


@pytest.fixture
def saved(tmp_path):
    """A model of four channels of pixels in two classes, as diffusers saves it."""
    model = tiny_dit(num_classes=2)
    model.data_info = pf.DataInfo(class_names=("blue", "red"))
    Pipe(ours.PatchForcingTransformer2DModel.of(model)).save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def test_loading_makes_one_copy_of_the_weights_and_fills_in_positions(saved):
    loaded = Pipe.from_pretrained(saved, low_cpu_mem_usage=True).transformer.dit
    plain = Pipe.from_pretrained(saved, low_cpu_mem_usage=False).transformer.dit
    assert torch.equal(loaded.pos_embed, plain.pos_embed)
    weights = plain.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in loaded.state_dict().items())


def test_offloading_moves_the_network_before_it_is_called(saved, monkeypatch):
    pipe = Pipe.from_pretrained(saved)
    wanted = pipe(class_labels=1, seeds=[0], nfe=2).images[0].tobytes()
    pipe.enable_model_cpu_offload(device="cpu")
    hook, moved = pipe.transformer._hf_hook, []
    monkeypatch.setattr(
        hook, "pre_forward", lambda module, *given, **named: moved.append(module) or (given, named)
    )
    assert pipe(class_labels=1, seeds=[0], nfe=2).images[0].tobytes() == wanted
    assert moved == [pipe.transformer]
    assert len(EXAMPLE.read_text().splitlines()) <= 150


@pytest.mark.slow
@pytest.mark.parametrize("labelled", [True, False])
def test_the_training_loop_learns_a_folder_of_images(saved, tmp_path, monkeypatch, labelled):
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    for number in range(8):
        for name, colour in (("red", (255, 0, 0)), ("green", (0, 255, 0))):
            folder = tmp_path / "photos" / (name if labelled else "")
            folder.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (10, 12), colour).save(folder / f"{name}{number}.png")
    spec = importlib.util.spec_from_file_location("finetune", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    options = ["--model", saved, "--data", tmp_path / "photos", "--out", tmp_path / "tuned"]
    options += ["--steps", 60, "--batch-size", 8, "--learning-rate", 1e-2, "--ema-decay", 0.9]
    example.train(example.read_options(list(map(str, options))))
    pipe = Pipe.from_pretrained(tmp_path / "tuned")
    if not labelled:
        assert pipe.transformer.config.num_classes == 0
        return
    assert pipe.to_patch_forcing().class_names == ("green", "red")
    images = pipe(class_labels=["green", "red"], seeds=[0, 1], output_type="pt").images
    red, green, _ = images.mean(dim=(2, 3)).unbind(1)
    assert green[0] > red[0] and red[1] > green[1]
