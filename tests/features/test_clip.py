"""CLIP's embeddings, scores and distances, by transformers' real classes with random weights."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import patch_forcing as pf
from patch_forcing.evaluation.kernel import clip_distance
from patch_forcing.evaluation.text_fit import clip_score
from patch_forcing.features.classifiers import INCEPTION_WEIGHTS
from patch_forcing.features.find import find_features
from patch_forcing.features.names import CLIP
from patch_forcing.features.network import TextNetwork
from patch_forcing.scoring.comparison import unpaired
from patch_forcing.scoring.evaluation import read_evaluation
from tests.support.exact import tiny_dit
from tests.support.text_encoders import WIDTH, WORDS, write_encoder

TEXTS = ("a red cat", "two dog on a mat", "a red cat")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small CLIP with its tokenizer."""
    import transformers

    place = write_encoder(tmp_path_factory.mktemp("clip"), "clip")
    layers = {"hidden_size": WIDTH, "intermediate_size": 24, "num_hidden_layers": 1}
    layers |= {"num_attention_heads": 2, "projection_dim": 6}
    ends = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1}
    text = {**layers, **ends, "vocab_size": len(WORDS), "max_position_embeddings": 8}
    vision = {**layers, "image_size": 16, "patch_size": 8}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=6)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.CLIPModel(config).save_pretrained(place)
    preprocessor = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.3, 0.2, 0.3]}
    (place / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return place


def test_angles_between_images_and_texts_are_those_of_transformers(folder):
    import transformers

    clip = find_features(str(folder))
    assert isinstance(clip, TextNetwork)
    assert clip.size == (16, 16)
    images = torch.rand(3, 3, 16, 16) * 2 - 1
    whole = transformers.CLIPModel.from_pretrained(folder)
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(
        list(TEXTS), padding=True, return_tensors="pt"
    )
    mean, std = (torch.tensor(c)[:, None, None] for c in ([0.5, 0.4, 0.3], [0.3, 0.2, 0.3]))
    seen = ((images + 1) / 2 - mean) / std
    keys = {name: tokens[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        output = whole(pixel_values=seen, **keys)
    cosines = (output.logits_per_image / whole.logit_scale.exp()).diagonal()
    expected = float(100 * cosines.detach().clamp(min=0).mean())
    score = clip_score(clip.features(images), clip.texts(TEXTS))
    assert score.value == pytest.approx(expected, rel=1e-4)
    assert clip.texts(TEXTS)[0].equal(clip.texts(TEXTS)[2])


def test_the_distance_is_the_published_sum_over_all_pairs():
    random = np.random.default_rng(0)
    real, sampled = random.standard_normal((5, 4)), random.standard_normal((7, 4)) + 0.5
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (real, sampled))

    def mean_kernel(x, y):
        return np.mean([[np.exp(-((p - q) ** 2).sum() / 200) for q in y] for p in x])

    expected = 1000 * (mean_kernel(a, a) + mean_kernel(b, b) - 2 * mean_kernel(a, b))
    measured = clip_distance(torch.from_numpy(real), torch.from_numpy(sampled))
    assert measured.value == pytest.approx(expected, rel=1e-6)
    assert clip_distance(torch.from_numpy(real), torch.from_numpy(real)).value == pytest.approx(0)


def test_captioned_images_are_scored_and_others_say_what_they_lack(folder, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / f"{number:02}.png")
        (tmp_path / f"{number:02}.txt").write_text(TEXTS[number % 2])
    np.savez(tmp_path / "plain.npz", pixels)
    measured = pf.evaluate(tmp_path, tmp_path, features=[str(folder)])
    assert measured.record["prompts"] == 2
    assert 0 <= measured["clip-score"]["value"] <= 100
    assert measured["cmmd"]["value"] == pytest.approx(0, abs=1e-6)
    with pytest.raises(pf.UserError, match="clip-score cannot be measured: the samples have no pr"):
        pf.evaluate(
            tmp_path / "plain.npz", tmp_path, features=[str(folder)], metrics=["clip-score"]
        )
    with pytest.raises(pf.UserError, match="this network sees no texts: --features clip-b, clip-l"):
        pf.evaluate(tmp_path, tmp_path, features=["emoji"], metrics=["cmmd"])


def test_a_model_of_texts_shows_the_prompts_of_the_reference(folder, tmp_path):
    (tmp_path / "real").mkdir()
    for number in range(4):
        Image.new("RGB", (16, 16), (60 * number, 0, 0)).save(tmp_path / "real" / f"{number}.png")
        (tmp_path / "real" / f"{number}.txt").write_text(TEXTS[number // 2])
    network = tiny_dit(input_size=16, condition="bytes:length=20,refiner=1", num_classes=0)
    network.save(tmp_path / "model")
    how = {"features": [str(folder)], "metrics": ["clip-score"], "sampler": "euler", "nfe": 1}
    own = pf.evaluate(tmp_path / "model", tmp_path / "real", count=4, **how)
    given = pf.evaluate(tmp_path / "model", tmp_path / "real", count=4, prompts=["a cat"], **how)
    assert (own.record["prompts"], given.record["prompts"]) == (2, 1)
    unlike = [own.save(tmp_path / "a.json"), given.save(tmp_path / "b.json")]
    assert unpaired(*map(read_evaluation, unlike)) == "other prompts"


def test_weights_that_are_not_there_are_one_line(tmp_path, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for name in CLIP:
        with pytest.raises(
            pf.UserError, match=f"{CLIP[name]}: no such encoder, and not from the Hub"
        ):
            find_features(name)
    monkeypatch.setenv(INCEPTION_WEIGHTS, str(tmp_path / "none.pth"))
    with pytest.raises(pf.UserError, match=r"inception"):
        find_features("inception")
