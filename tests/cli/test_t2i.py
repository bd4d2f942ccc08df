"""Text to image at the paper's design, from captioned pictures to prompts, in miniature."""

import json
from pathlib import Path

import pytest
from PIL import Image

from patch_forcing.cli.dry_run import in_words
from patch_forcing.cli.main import run
from patch_forcing.data.sources import LatentsSource
from tests.support.autoencoders import small_flux2
from tests.support.image_files import photos
from tests.support.text_encoders import write_encoder

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

SMALL = {
    "network.hidden-size": 16,
    "network.depth": 1,
    "network.num-heads": 2,
    "network.condition-size": 8,
    "text.length": 6,
    "batch-size": 2,
    "log-every": 1,
    "precision": "fp32",
    "device": "cpu",
}


def test_captioned_pictures_become_latents_a_model_and_samples(here, capsys):
    photos(here / "pictures", {"": 4})
    for number, file in enumerate(sorted((here / "pictures").glob("*.png"))):
        file.with_suffix(".txt").write_text(("a red cat", "two blue dog", "a cat", "a dog")[number])
    autoencoder = small_flux2(here / "flux2")
    encoder = write_encoder(here / "qwen", "qwen3-vl")
    encode = f"encode pictures --autoencoder {autoencoder} --out latents --size 32 --device cpu"
    run(encode.split())
    assert LatentsSource("latents").open().shape == (32, 4, 4)
    train = f"train t2i-256 --data.path latents --text.encoder {encoder} --steps 2 --out run"
    run([*train.split(), "--no-compile", *(f"--{k}={v}" for k, v in SMALL.items())])
    assert json.loads(Path("run/metrics.jsonl").read_text().splitlines()[-1])["step"] == 2
    run(["sample", "run", "--prompt", "a blue cat", "--count", "2", "--steps", "1", "--out", "s"])
    with Image.open(here / "s" / "1.png") as image:
        assert image.size == (32, 32)
    assert json.loads((here / "s" / "samples.json").read_text())
    capsys.readouterr()


def test_hours_and_disk_are_told_without_pictures(here, capsys):
    run(["train", "t2i-256", "--network.depth", "2", "--dry-run", "--json", "--device", "cpu"])
    resolved = json.loads(capsys.readouterr().out)
    figures, reports = resolved["estimate"], in_words(resolved).splitlines()
    assert figures["hours_on_1_h200"] == pytest.approx(7.6 * figures["hours_on_8_h200"], rel=0.01)
    assert resolved["model"]["condition"] == "text:width=2048,length=256"
    assert reports[-2].startswith("one H200 would take about")
    assert reports[-1].endswith("GiB of disk")
    assert not list(here.iterdir())
