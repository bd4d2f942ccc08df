"""Text encoders: frozen, repeatable, the same for a text whatever is beside it."""

import importlib.util
import json

import pytest
import torch

import patch_forcing as pf
from patch_forcing.text.encoder import TextEncoder
from patch_forcing.text.find import find_text_encoder
from patch_forcing.text.transformers_encoder import TransformersEncoder
from patch_forcing.text.word_vectors import wordllama
from tests.support.text_encoders import WIDTH, small_vectors, write_encoder

TEXTS = ["a red cat", "", "two dog on a blue mat", "猫"]


@pytest.mark.parametrize("kind", ["t5", "clip", "siglip", "qwen3", "qwen3-vl", "gemma"])
def test_models_of_transformers_give_their_last_states(kind, tmp_path):
    if kind == "siglip":
        pytest.importorskip("transformers", "5", "its text half alone is a model since 5.0")
    encoder = find_text_encoder(str(write_encoder(tmp_path / kind, kind)))
    assert isinstance(encoder, TextEncoder)
    assert encoder.width == WIDTH
    assert encoder.name.startswith(f"{kind} ")
    embeddings, mask, cut = encoder.encode(TEXTS, 6)
    assert mask.sum(1).tolist() == [4, 0, 6, 2]  # with </s>
    assert not embeddings[~mask].any()
    assert cut == ("", "", " mat", "")
    for row, text in enumerate(TEXTS):
        assert encoder.encode([text], 6).embeddings[0].equal(embeddings[row])
    assert not embeddings.requires_grad
    alone = encoder._network(input_ids=torch.tensor([[3, 4, 6, 1]])).last_hidden_state
    if kind != "siglip":  # which sees padding
        torch.testing.assert_close(embeddings[0, :4], alone[0], atol=1e-5, rtol=1e-4)
    bf16 = TransformersEncoder("x", tmp_path / kind, bf16=True)
    assert bf16.name == encoder.name.replace(kind, "x") + " bf16"
    torch.testing.assert_close(bf16.encode(TEXTS, 6).embeddings, embeddings, atol=0.2, rtol=0.1)


def test_names_tell_weights_apart(tmp_path):
    names = [
        TransformersEncoder("t5", write_encoder(tmp_path / folder, "t5", seed)).name
        for folder, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert names[0] == names[1] != names[2]
    assert small_vectors(0).name == small_vectors(0).name != small_vectors(1).name


def test_word_vectors_are_looked_up():
    vectors = small_vectors()
    assert isinstance(vectors, TextEncoder)
    embeddings, mask, cut = vectors.encode(TEXTS, 4)
    assert mask.sum(1).tolist() == [3, 0, 4, 1]
    assert embeddings[2, :4].equal(vectors._table[[10, 7, 8, 3]].float())
    assert cut == ("", "", "blue mat", "")
    assert vectors.to("cpu").encode(TEXTS, 4).embeddings.equal(embeddings)


@pytest.mark.skipif(importlib.util.find_spec("wordllama") is None, reason="an extra")
def test_wordllama_knows_words():
    encoder = find_text_encoder("wordllama")
    embeddings, mask, _ = encoder.encode(["cat", "kitten", "parliament"], 4)
    assert encoder.width == embeddings.shape[2] == 256
    cat, kitten, parliament = torch.nn.functional.normalize(
        (embeddings * mask[..., None]).sum(1), dim=1
    )
    assert cat @ kitten > cat @ parliament + 0.1


def test_what_is_no_encoder_is_one_line(tmp_path, monkeypatch):
    with pytest.raises(pf.UserError, match="did you mean 'wordllama'"):
        find_text_encoder("wordlama")
    (tmp_path / "empty").mkdir()
    with pytest.raises(pf.UserError, match=r"config.json is missing"):
        find_text_encoder(str(tmp_path / "empty"))
    folder = write_encoder(tmp_path / "t5", "t5")
    (folder / "config.json").write_text(json.dumps({"model_type": "resnet"}))
    with pytest.raises(pf.UserError, match=r"no text encoder|cannot be loaded"):
        find_text_encoder(str(folder))
    (folder / "model.safetensors").unlink()
    with pytest.raises(pf.UserError, match="no safetensors"):
        find_text_encoder(str(folder))
    monkeypatch.setattr("patch_forcing.text.word_vectors.find_spec", lambda _: None)
    wordllama.cache_clear()
    with pytest.raises(pf.UserError, match=r"wordllama is not installed: pip install .*\[text\]"):
        find_text_encoder("wordllama")
