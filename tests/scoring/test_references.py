"""Shards, data sets, arrays in memory and deep images are measured as folders are."""

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

import patch_forcing as pf
from patch_forcing.features.names import DINOV2
from patch_forcing.features.network import FeatureNetwork
from patch_forcing.models.config import Recommended, SamplingInfo
from patch_forcing.scoring.folder_images import FolderImages
from patch_forcing.scoring.measuring import Side, measure_vectors
from patch_forcing.scoring.networks import usual_features
from patch_forcing.scoring.reference import find_reference
from tests.support.exact import tiny_dit
from tests.support.feature_networks import MeanColour
from tests.support.image_files import encoded, png, shard


@pytest.fixture
def pixels():
    """(N, H, W, 3)."""
    return np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), np.uint8)


@pytest.fixture
def folder(tmp_path, pixels):
    for number, image in enumerate(pixels):
        place = tmp_path / "folder" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{number:02}.png")
    return tmp_path / "folder"


def measured(subject, reference):
    return pf.evaluate(subject, reference, features=["emoji"], metrics=["fd"])


def test_shards_and_data_sets_hold_what_a_folder_holds(tmp_path, folder, pixels):
    members = {f"{n:02}.png": encoded(image) for n, image in enumerate(pixels)}
    members |= {f"{n:02}.cls": str(n % 2).encode() for n in range(len(pixels))}
    (tmp_path / "tars").mkdir()
    shard(tmp_path / "tars" / "x.tar", members)
    rows = {"image": [Image.fromarray(image) for image in pixels]}
    whole = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
    datasets.DatasetDict(train=whole, test=whole).save_to_disk(tmp_path / "saved")
    np.savez(tmp_path / "a.npz", 255 - pixels)
    expected = measured(tmp_path / "a.npz", folder)
    places = (tmp_path / "tars", tmp_path / "tars" / "x.tar", f"hub:{tmp_path / 'saved'}:test")
    for place in places:
        seen = measured(tmp_path / "a.npz", place)
        assert seen["fd"]["value"] == pytest.approx(expected["fd"]["value"])
        assert seen.record["reference"]["hash"] == expected.record["reference"]["hash"]
    assert find_reference(str(places[0]), None).images.labels == ("0", "1") * 6
    with pytest.raises(pf.UserError, match="--reference nobody is not there"):
        find_reference("hub:nobody", None)
    (tmp_path / "empty").mkdir()
    for name, words in {
        "saved:tset": "split of",
        "empty": "its files and its split .hub:NAME:SPLIT.",
    }.items():
        with pytest.raises(pf.UserError, match=words) as refusal:
            find_reference(f"hub:{tmp_path / name}", None)
        assert "data." not in str(refusal.value)


def test_pixels_in_memory_and_features_at_hand_have_the_number_of_the_folder(folder, pixels):
    from patch_forcing.evaluation.features import image_features
    from patch_forcing.features.emoji import load_emoji_features

    network, order = load_emoji_features(), [*range(0, 12, 2), *range(1, 12, 2)]
    images = torch.from_numpy(pixels[order]).movedim(3, 1).contiguous()
    by_folder, by_pixels = measured(folder, "emoji"), measured(images, "emoji")
    vectors = image_features(network, images)
    at_hand = measure_vectors(network, vectors, Side(statistics=network.reference), "fd")
    value = by_folder["fd"]["value"]
    assert by_pixels["fd"]["value"] == pytest.approx(value, rel=1e-6)
    assert at_hand["fd"].value == pytest.approx(value, rel=1e-6)
    with pytest.raises(pf.UserError, match="give uint8"):
        pf.evaluate(images.float(), "emoji")


def test_sixteen_bits_are_rounded_to_eight_and_that_is_said_once(tmp_path, caplog):
    deep = np.random.default_rng(0).integers(0, 2**16, (16, 16, 3), np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
    for number in range(2):
        (tmp_path / f"{number}.png").write_bytes(png(16, 16, rows, colour=2, depth=16))
    seen = FolderImages(tmp_path).batch(slice(0, 2))
    assert seen[0].equal(torch.from_numpy((deep / 257).round().astype(np.uint8)).movedim(2, 0))
    assert [record.message for record in caplog.records] == [
        f"{tmp_path} holds images of more than 8 bits: they are rounded to 8"
    ]


def test_dinov2_is_taken_where_it_is_on_this_disk(folder, tmp_path, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    images, reference = FolderImages(folder), find_reference("emoji", (64, 64))
    before = usual_features(images, reference)
    for name in ("dinov2-s", "dinov2-l"):
        place = tmp_path / "hub" / f"models--{DINOV2[name][0].replace('/', '--')}"
        snapshot = place / "snapshots" / ("0" * 40)
        snapshot.mkdir(parents=True)
        (place / "refs").mkdir()
        (place / "refs" / "main").write_text("0" * 40)
        (snapshot / "config.json").write_text("{}")
        assert usual_features(images, reference)[-1] != name  # without weights it is no network
        (snapshot / "model.safetensors").touch()
        assert usual_features(images, reference) == [*before, name]


def test_features_say_which_settings_of_a_model_they_chose(tmp_path):
    network = tiny_dit(input_size=16, patch_size=8)
    network.sampling_info = SamplingInfo(
        recommended=Recommended(guidance_scale=2.0),
        tuned_on=(("guidance", "fd of emoji features"),),
    )
    network.save(tmp_path / "model")
    made = pf.evaluate(
        tmp_path / "model", "emoji", count=2, metrics=["fd"], features=["emoji"], num_steps=1
    )
    assert made.record["results"][0]["tuned"] == ["guidance"]
    assert "| emoji, which chose the guidance |" in made.markdown()


def test_features_at_hand_say_what_they_lack():
    network = MeanColour()
    assert isinstance(network, FeatureNetwork)
    with pytest.raises(pf.UserError, match="kid cannot be measured: the reference holds stat"):
        measure_vectors(network, torch.rand(4, 3), Side(), "kid")
