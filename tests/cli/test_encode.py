"""`encode`, then `train imagenet256-…`, then `sample`, as a user types them."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import patch_forcing as pf
from patch_forcing.cli.main import run
from patch_forcing.data.sources import FolderSource
from patch_forcing.features.find import find_encoder
from patch_forcing.generation.find import find_model
from patch_forcing.runs.alignment import unit_features
from tests.support import published
from tests.support.autoencoders import small_deep_compression, small_flux2, small_kl, small_tiny
from tests.support.image_files import smooth
from tests.support.tiny import SMALL_NETWORK

TINY = [*SMALL_NETWORK, "--batch-size", "4", "--log-every", "5", "--no-compile", "--device", "cpu"]
ENCODE = ["--size", "32", "--batch-size", "4", "--shard-size", "8", "--device", "cpu"]
ALL = [f"imagenet256-{method}-{size}" for method in ("sit", "pft") for size in ("b", "l", "xl")]


def write_images(folder):
    """What an autoencoder of random weights would see, two classes of it."""
    for name, count in (("cat", 7), ("golden, retriever", 6)):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(smooth(40 + i, 36)).save(folder / name / f"{i}.png")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Images, autoencoders, latents, and a run of three steps."""
    root = tmp_path_factory.mktemp("world")
    write_images(root / "images")
    small_kl(root / "kl")
    small_kl(root / "other", seed=1)
    small_tiny(root / "tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        run(["encode", "images", "--autoencoder", "kl", "--out", "latents", *ENCODE])
        train("imagenet256-pft-b", "latents", 3)
    return root


def train(recipe, latents, steps):
    run(["train", recipe, "--data.path", latents, *TINY, "--steps", str(steps)])


@pytest.fixture
def here(world, monkeypatch):
    monkeypatch.chdir(world)
    return world


def check_samples(run_folder, out, classes="cat"):
    sample = ["sample", run_folder, "--labels", classes, "--seeds", "0-2", "--steps", "2"]
    run([*sample, "--out", out, "--npz", f"{out}/a.npz", "--sampler", "euler", "--maps"])
    with np.load(f"{out}/a.npz") as arrays:
        images = arrays["arr_0"]
    assert (images.shape, images.dtype) == ((3, 32, 32, 3), np.uint8)
    with Image.open(f"{out}/1.png") as image:
        assert np.array_equal(np.array(image), images[1])
    return images


def test_from_images_to_samples(here, capsys, tmp_path):
    shutil.copytree(here / "images", tmp_path / "images")
    run(["encode", str(tmp_path / "images"), "--autoencoder", "kl", "--out", str(tmp_path / "l"),
         *ENCODE])  # fmt: skip
    message = capsys.readouterr().out.splitlines()
    assert message[0].startswith("13 images, 2 classes (cat 7, golden, retriever 6), each mirrored")
    assert "latents of 4×4×4, 2 shards" in message[0]
    assert message[1] == f"from {tmp_path / 'images'}: classes by folder, no captions"
    assert any(line.startswith("2 of 2 shards made") for line in message[2:4])
    assert (
        message[-1] == f"next: patch-forcing train imagenet256-pft-b --data.path {tmp_path / 'l'}"
    )
    train("imagenet256-pft-b", "latents", 3)
    assert "is complete at 3 steps" in capsys.readouterr().out
    images = check_samples("runs/imagenet256-pft-b", str(tmp_path / "s"), "golden, retriever")
    rows = json.loads((tmp_path / "s" / "samples.json").read_text())
    assert [row["label"] for row in rows] == [1, 1, 1]
    assert rows[0]["autoencoder"] == str(here / "kl")
    pipe = pf.load("runs/imagenet256-pft-b")
    result = pipe([1], [2], sampler="euler", num_steps=2, trace=True)
    assert np.abs(result.pixels[0].permute(1, 2, 0).numpy().astype(int) - images[2]).max() <= 1
    assert pipe.pixels_per_patch == 16
    assert pipe.decode(result.trace[-1].prediction).shape == (1, 3, 32, 32)


@pytest.mark.parametrize(
    "recipe",
    [pytest.param(name, marks=() if name == ALL[-1] else pytest.mark.slow) for name in ALL],
)
def test_every_recipe_from_images_to_samples_in_twenty_steps(here, monkeypatch, tmp_path, recipe):
    monkeypatch.chdir(tmp_path)
    run(["encode", str(here / "images"), "--autoencoder", str(here / "kl"), "--out", "l", *ENCODE])
    train(recipe, "l", 20)
    check_samples(f"runs/{recipe}", "s")
    metrics = Path(f"runs/{recipe}/metrics.jsonl").read_text().splitlines()
    assert json.loads(metrics[-1])["step"] == 20


@pytest.mark.slow
@pytest.mark.parametrize("maker", [small_flux2, small_deep_compression, small_tiny, None])
def test_every_autoencoder_from_images_to_samples(here, monkeypatch, tmp_path, maker):
    monkeypatch.chdir(tmp_path)
    name = "pixels" if maker is None else str(maker(tmp_path / "autoencoder"))
    run(["encode", str(here / "images"), "--autoencoder", name, "--out", "l", *ENCODE])
    recipe = ["--network.patch-size", "1"] if maker is small_deep_compression else []
    run(["train", "imagenet256-pft-b", "--data.path", "l", *TINY, "--steps", "3", *recipe])
    check_samples("runs/imagenet256-pft-b", "s")


def test_a_copy_of_the_autoencoder_will_do_and_another_will_not(here, tmp_path, mistake, capsys):
    model = shutil.copytree(find_model(here / "runs/imagenet256-pft-b"), tmp_path / "model")
    text = (model / "config.json").read_text()
    gone = tmp_path / "gone"
    (model / "config.json").write_text(text.replace(str(here / "kl"), str(gone)))
    sample = f"sample {model} --labels 0 --steps 1 --sampler euler --out {tmp_path / 's'}"
    message = mistake(sample)
    assert f"the autoencoder of {model} cannot be had: {gone} is not there" in message
    assert "--autoencoder FOLDER" in message
    message = mistake(f"{sample} --autoencoder {here / 'other'}")
    assert re.search(r"is not the autoencoder that .* was trained with: hash \w+, not \w+", message)
    assert "AutoencoderTiny, not AutoencoderKL" in mistake(
        f"{sample} --autoencoder {here / 'tiny'}"
    )
    assert not (tmp_path / "s").exists()
    run(f"{sample} --autoencoder {here / 'kl'}".split())
    run(f"{sample} --preview {here / 'tiny'}".split())
    assert (tmp_path / "s" / "0.png").is_file()
    capsys.readouterr()
    assert "not a tiny decoder" in mistake(f"{sample} --preview {here / 'kl'}")
    both = f"{sample} --preview {here / 'tiny'} --autoencoder {here / 'kl'}"
    assert "exclude each other" in mistake(both)
    assert "makes pixels: leave it out" in mistake(f"sample digits --autoencoder {here / 'kl'}")


def test_a_published_model_of_stable_diffusions_latents_takes_its_autoencoder(here, tmp_path):
    sizes = pf.PatchDiTConfig(4, hidden_size=16, depth=1, num_heads=1, num_classes=2)
    pf.PatchDiT(sizes, pf.DataInfo(latent_scale=0.18215)).save(tmp_path / "model")
    pipe = pf.load(tmp_path / "model", autoencoder=here / "kl")
    assert pipe([0], num_steps=1, sampler="euler").images[0].size == (32, 32)
    pf.PatchDiT(sizes, pf.DataInfo(latent_scale=0.5)).save(tmp_path / "other")
    with pytest.raises(pf.UserError, match="not named: add --autoencoder"):
        pf.load(tmp_path / "other")
    with pytest.raises(pf.UserError, match=r"trained with: scale 0.18215, not 0.5"):
        pf.load(tmp_path / "other", autoencoder=here / "kl")


def converted(folder, *options, **sizes):
    sizes = {"width": 16, "depth": 1, "grid": 2, "classes": 2, **sizes}
    torch.save(published.random_state(**sizes), folder / "pft.pt")
    run(["convert", str(folder / "pft.pt"), "--num-heads", "2", "--out", str(folder / "m"),
         *options])  # fmt: skip
    return folder / "m"


@pytest.mark.usefixtures("here")
def test_a_converted_model_is_sampled_and_trained_on(tmp_path, mistake, capsys):
    model = converted(tmp_path)
    sample = ["sample", str(model), "--labels", "1", "--steps", "1", "--out", str(tmp_path / "s")]
    run([*sample, "--autoencoder", "kl"])
    with Image.open(tmp_path / "s" / "0.png") as image:
        assert image.size == (32, 32)
    start = ["train", "imagenet256-pft-b", "--data.path", "latents", *TINY, "--steps", "1"]
    run([*start, "--init-from", str(model), "--out", str(tmp_path / "run")])
    model = converted(tmp_path, "--autoencoder", "other")  # whose weights are known
    capsys.readouterr()
    error = mistake(" ".join([*sample, "--autoencoder", "kl"]))
    assert re.search(r"is not the autoencoder .* hash \w+, not \w+", error)
    error = mistake(" ".join([*start, "--init-from", str(model), "--out", str(tmp_path / "no")]))
    assert re.search(r"--init-from .* have an autoencoder of hash \w+, not \w+, as this", error)
    (tmp_path / "flux").mkdir()
    flux = small_flux2(tmp_path / "flux2")
    model = converted(tmp_path / "flux", "--autoencoder", str(flux), channels=32)
    sample[1] = str(model)
    run(sample)
    capsys.readouterr()
    line = f"convert {tmp_path / 'flux' / 'pft.pt'} --num-heads 2 --out x --autoencoder kl"
    assert "32 channels, and latents of" in mistake(line)


@pytest.mark.parametrize("flip", [True, False])
def test_features_of_the_images_that_latents_were_made_of(here, capsys, tmp_path, flip):
    shutil.copytree(here / "images", tmp_path / "images")
    (tmp_path / "images/cat/2.png").write_bytes(b"no image")
    images, latents, cache = (str(tmp_path / name) for name in ("images", "latents", "cache"))
    run(["encode", images, "--autoencoder", "kl", "--out", latents, *ENCODE])
    options = [] if flip else ["--no-flip"]
    asked = ["encode", images, "--features", "emoji", "--latents", latents, "--out", cache]
    run([*asked, "--device", "cpu", *options])
    message = capsys.readouterr().out.splitlines()
    assert message[-3] == f"{24 if flip else 12} pictures → features of 2×2 patches"
    rows = np.load(f"{cache}/features.npy")
    source = FolderSource(path=images, size=32, channels=3)
    pictures, encoder = source.open(), find_encoder("emoji")
    left = [number for number in range(13) if number != 2]
    numbers = left + [13 + number for number in left] * flip
    assert len(rows) == len(numbers)
    for row, number in zip(rows, numbers, strict=True):
        expected = unit_features(encoder, pictures.picture(number)[None], (2, 2))[0]
        np.testing.assert_allclose(row, expected.numpy(), atol=2e-3)
    # as the last line says, by a small network
    words = message[-1].removeprefix("next: patch-forcing ").split()
    run([*words, *TINY, "--alignment.projector-dim", "8", "--steps", "1", "--log-every", "1"])
    run_folder = Path("runs/imagenet256-pft-b-repa")
    assert "alignment" in (run_folder / "metrics.jsonl").read_text()
    shutil.rmtree(run_folder)


def test_features_of_other_images_are_refused(here, mistake, tmp_path):
    shutil.copytree(here / "images", tmp_path / "images")
    (tmp_path / "images/cat/2.png").unlink()
    asked = f"encode {tmp_path}/images --features emoji --latents latents --out {tmp_path}/x"
    assert "latents was not made of" in mistake(asked)
    assert not (tmp_path / "x").exists()


@pytest.mark.usefixtures("here")
def test_features_are_made_by_one_process(monkeypatch, tmp_path):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    asked = f"encode images --features emoji --latents latents --out {tmp_path}/x"
    with pytest.raises(pf.UserError, match="WORLD_SIZE=2: one process makes them all"):
        run([*asked.split(), "--device", "cpu"])
    assert not (tmp_path / "x").exists()


MISTAKES = {
    "encode images --features emoji --out x": "--latents DIR is missing",
    "encode images --features emoji --latents images --out x": "images holds no latents",
    "encode images --features emoji --latents latents": "--out DIR is missing",
    "encode images --features emoji --latents latents --out latents": "latents is there",
    "encode images --features emoji --latents latents --out x --patch-size 3": "--patch-size 3",
    "encode images --features emojy --latents latents --out x": "emojy",
    "encode images --features emoji --latents latents --out x --size 8": "--size",
    "encode nothing --autoencoder kl --out x": "nothing is not there: give a folder of images",
    "encode --autoencoder kl": "the images come first",
    "encode images --out x": "--autoencoder NAME is missing",
    "encode images --autoencoder kl": "--out DIR is missing",
    "encode images --autoencoder sd-vae --out x": "did you mean 'sd-vae-ft-ema'?",
    "encode images --autoencoder ./no --out x": "no is not there: give the folder",
    "encode images --autoencoder images --out x": "config.json cannot be read",
    "encode images --autoencoder kl --out images --device cpu": "holds no latents: choose another",
    "encode images --autoencoder kl --out latents --device cpu": "size=32, now it is 256",
    "encode images --autoencoder kl --out x --size 36 --device cpu": "multiple of 8",
    "encode images --autoencoder kl --out x --split test": "--split",
    "encode shards": "its path is missing",
    "train imagenet256-pft-b": "data.path is not given",
    "train imagenet256-pft-b --data.path images": "make them with patch-forcing encode",
    "train imagenet256-pft-c": "did you mean 'imagenet256-pft-",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_one_line_and_nothing_is_written(refused, line):
    refused(line, MISTAKES[line])


def test_usage_and_help(capsys):
    run(["encode"])
    assert capsys.readouterr().out.startswith("usage: patch-forcing encode FOLDER")
    with pytest.raises(SystemExit):
        run(["encode", "hub", "--help"])
    message = capsys.readouterr().out
    assert "--split" in message
    assert "--shard-size" in message


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_a_dry_run_estimates_the_real_size(capsys):
    train = ["train", "imagenet256-sit-b", "--data.path", "latents", "--device", "cpu"]
    run([*train, "--dry-run", "--json"])
    message = json.loads(capsys.readouterr().out)
    assert message["estimate"]["images"] == 256 * 400_000
    assert message["estimate"]["parameters"] > 128e6
    assert message["found"]["images"] == 13
    assert message["model"]["predict_difficulty"] is False
