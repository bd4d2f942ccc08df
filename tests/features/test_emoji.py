"""The feature network comes back from its folder, and reads images of any size and number."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from patch_forcing.core.errors import UserError
from patch_forcing.data.emoji import EmojiScenes
from patch_forcing.evaluation.frechet import frechet_distance
from patch_forcing.features.emoji import (
    EmojiFeatures,
    EmojiNet,
    load_emoji_features,
)
from patch_forcing.features.names import EMOJI_FOLDER
from patch_forcing.features.statistics import FeatureStatistics
from tests.support.emoji_font import tiny_atlas

CONFIG, WEIGHTS = "config.json", "features.safetensors"


@pytest.fixture(scope="module")
def made():
    """A network of five drawings in three classes, all of its weights and statistics random."""
    random = torch.Generator().manual_seed(0)
    network = EmojiNet(5)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.randn(tensor.shape, generator=random)
            if tensor.ndim > 1:
                tensor.copy_(noise / tensor[0].numel() ** 0.5)
            else:
                tensor.copy_(noise.abs() + 0.5 if "weight" in name or "var" in name else noise / 4)
    network.eval().requires_grad_(False)
    reference = FeatureStatistics.of(torch.randn(200, 144, generator=random))
    classes = torch.tensor([0, 2, 1, 1, 0])
    return EmojiFeatures(network, classes, ("faces", "hearts", "flags & more"), reference, "0123")


@pytest.fixture
def folder(made, tmp_path):
    made.save(tmp_path / "deep" / "features")
    return tmp_path / "deep" / "features"


@pytest.fixture(scope="module")
def images():
    """Ten scenes, as files hold them."""
    x, _ = EmojiScenes(tiny_atlas()).scenes(0, torch.arange(10))
    return ((x + 1) * 127.5).round().to(torch.uint8)


def test_a_saved_network_comes_back_rounded_to_fp16(made, folder, images):
    assert sorted(file.name for file in folder.iterdir()) == [CONFIG, WEIGHTS]
    loaded = load_emoji_features(folder)
    before, after = made.network.state_dict(), loaded.network.state_dict()
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert after[name].dtype == tensor.dtype
        assert after[name].equal(tensor.half().to(tensor.dtype))
    assert loaded.classes.equal(made.classes)
    assert loaded.class_names == made.class_names
    assert loaded.atlas == made.atlas
    assert loaded.reference.count == 200
    assert loaded.reference.mean.equal(made.reference.mean)
    assert loaded.reference.covariance.equal(made.reference.covariance)
    assert not loaded.network.training
    assert not any(weight.requires_grad for weight in loaded.network.parameters())
    seen, again = made.read(images).features, loaded.read(images).features
    torch.testing.assert_close(again, seen, rtol=0.02, atol=0.02)


def test_what_is_rounded_already_comes_back_bit_for_bit(folder, images):
    once = load_emoji_features(folder)
    once.save(folder)
    twice = load_emoji_features(folder)
    assert once.read(images).features.equal(twice.read(images).features)


def test_a_reading_is_the_networks_of_images_from_minus_one_to_one(made, images):
    reading = made.read(images)
    features = made.network(images / 127.5 - 1)
    scores = features @ made.network.head.weight.T + made.network.head.bias
    torch.testing.assert_close(reading.features, features, rtol=1e-5, atol=1e-5)
    assert reading.drawings.equal(scores.argmax(1))
    assert reading.classes.tolist() == [[0, 2, 1, 1, 0][drawing] for drawing in reading.drawings]
    assert reading.features.shape == (10, 144)
    black, white = (torch.full((1, 3, 64, 64), value, dtype=torch.uint8) for value in (0, 255))
    ends = made.network(torch.cat([torch.full((1, 3, 64, 64), end) for end in (-1.0, 1.0)]))
    read = made.read(torch.cat([black, white])).features
    torch.testing.assert_close(read, ends, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3, 10, 1000])
def test_the_batch_size_does_not_change_the_reading(made, images, batch_size):
    whole, parts = made.read(images), made.read(images, batch_size)
    torch.testing.assert_close(parts.features, whole.features, rtol=1e-5, atol=1e-5)
    assert parts.drawings.equal(whole.drawings)
    assert parts.classes.equal(whole.classes)


@pytest.mark.parametrize("size", [(16, 16), (100, 100), (128, 128), (64, 96)])
def test_other_sizes_are_read_as_pillow_resizes_them(made, size):
    # four colours under noise, whose pixels only an average over all of them gets right
    pictures = torch.rand(4, 3, 1, 1) + torch.rand(4, 3, *size)
    pictures = [p.numpy() for p in (127 * pictures).to(torch.uint8).permute(0, 2, 3, 1)]
    resized = [
        np.asarray(Image.fromarray(picture).resize((64, 64), Image.Resampling.BILINEAR))
        for picture in pictures
    ]
    own, pillows = (
        made.read(torch.from_numpy(np.stack(subset)).permute(0, 3, 1, 2)).features
        for subset in (pictures, resized)
    )
    # Pillow's are rounded to whole numbers
    assert ((own - pillows).norm(dim=1) / pillows.norm(dim=1)).max() < 0.01
    assert torch.pdist(pillows).min() / pillows.norm(dim=1).max() > 0.03  # and they are not alike


def cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def without(name):
    def on(file):
        tensors = load_file(file)
        save_file({key: tensor for key, tensor in tensors.items() if key != name}, file)

    return on


def config(**changes):
    def on(file):
        entries = json.loads(file.read_text(encoding="utf-8")) | changes
        kept = {key: value for key, value in entries.items() if value is not None}
        file.write_text(json.dumps(kept), encoding="utf-8")

    return on


DAMAGE = {
    "no config": (CONFIG, lambda file: file.unlink()),
    "no weights": (WEIGHTS, lambda file: file.unlink()),
    "half a config": (CONFIG, cut),
    "half the weights": (WEIGHTS, cut),
    "a config that is no text": (CONFIG, lambda file: file.write_bytes(b"\xff\xfe\x9f")),
    "a config that is a list": (CONFIG, lambda file: file.write_text("[1]")),
    "a config that is nothing": (CONFIG, lambda file: file.write_text("null")),
    "no names": (CONFIG, config(class_names=None)),
    "no count": (CONFIG, config(reference_count=None)),
    "no atlas": (CONFIG, config(atlas=None)),
    "no classes": (WEIGHTS, without("classes")),
    "no statistics": (WEIGHTS, without("reference.covariance")),
    "a layer short": (WEIGHTS, without("network.body.4.conv2.weight")),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_folder_is_refused_by_name_in_one_line(folder, damage):
    name, change = DAMAGE[damage]
    change(folder / name)
    with pytest.raises(UserError, match="holds no emoji feature network") as error:
        load_emoji_features(folder)
    message = str(error.value)
    assert message.startswith(str(folder))
    assert message.endswith("install the package again")
    assert len(message.splitlines()) == 1


def test_a_folder_that_is_not_there_is_refused_by_name(tmp_path):
    with pytest.raises(UserError, match="nowhere holds no emoji feature network"):
        load_emoji_features(tmp_path / "nowhere")


@pytest.fixture(scope="module")
def shipped():
    return load_emoji_features()


def test_the_files_that_ship_are_small():
    sizes = {file.name: file.stat().st_size for file in EMOJI_FOLDER.iterdir()}
    assert sizes.keys() == {CONFIG, WEIGHTS}
    assert sizes[WEIGHTS] <= 4 * 2**20
    assert sizes[CONFIG] < 10_000


def test_the_network_that_ships_knows_every_subgroup(shipped):
    assert len(set(shipped.class_names)) == len(shipped.class_names) == 99
    assert shipped.classes.unique().tolist() == list(range(99))
    assert shipped.network.head.out_features == len(shipped.classes)
    assert len(shipped.atlas) == 16


def test_the_reference_that_ships_is_of_100_000_scenes(shipped):
    assert shipped.reference.count == 100_000
    covariance = shipped.reference.covariance
    assert covariance.shape == (144, 144)
    assert covariance.dtype == torch.float64
    assert covariance.equal(covariance.T)
    assert torch.linalg.eigvalsh(covariance).min() > -1e-9 * covariance.trace()
    assert frechet_distance(shipped.reference, shipped.reference) < 1e-6 * covariance.trace()


def test_the_network_that_ships_reads_scenes_that_are_far_from_real_ones(shipped, images):
    reading = shipped.read(images)
    assert reading.features.isfinite().all()
    assert reading.classes.equal(shipped.classes[reading.drawings])
    noise = torch.randint(0, 256, (64, 3, 64, 64), dtype=torch.uint8)
    away = frechet_distance(FeatureStatistics.of(shipped.read(noise).features), shipped.reference)
    assert away > shipped.reference.covariance.trace() / 2
