"""Cards of models of every kind, and names that mean nothing elsewhere."""

from dataclasses import replace

import pytest
from huggingface_hub import ModelCard

import patch_forcing as pf
from patch_forcing.models.config import Recommended, SamplingInfo
from patch_forcing.models.latent_space import STABLE_DIFFUSION
from patch_forcing.models.text_space import TextSpace
from patch_forcing.sharing.card import Subject, card_text, is_untouched
from patch_forcing.sharing.share import Words, write_shared
from patch_forcing.sharing.training import Training
from tests.support.exact import tiny_dit


def card(model, **fields):
    return card_text(Subject("me/model", model, "0123", Training(), **fields))


def test_a_model_without_classes_is_asked_for_by_seed():
    text = card(tiny_dit(num_classes=0))
    assert "pixels, without a condition, by a diffusion" in text
    assert 'pipe(seeds=[0]).images[0].save("image.png")' in text
    assert "class-conditional" not in text
    assert ModelCard(text).data.pipeline_tag == "unconditional-image-generation"
    assert "How it was trained is not recorded." in text


def test_names_of_classes_are_texts_whatever_they_hold():
    model = tiny_dit(num_classes=2)
    model.data_info = replace(model.data_info, class_names=("it's <b>", "a | b"))
    text = card(model)
    assert ModelCard(text).data.pipeline_tag is None  # the Hub has no name for it
    assert {"image-generation", "class-conditional"} <= set(ModelCard(text).data.tags)
    assert 'pipe(labels=["it\'s <b>"])' in text
    assert "it&#x27;s &lt;b&gt;, a | b\n" in text


def test_a_model_of_texts_is_asked_for_by_a_text():
    model = tiny_dit(num_classes=0, condition="bytes", position="rope")
    model.sampling_info = SamplingInfo(recommended=Recommended(conditions="an owl\na cat"))
    text = card(model)
    assert "pipeline_tag: text-to-image" in text
    assert 'pipe("an owl").images[0]' in text


def test_a_model_of_latents_names_its_autoencoder_and_its_pixels():
    model = tiny_dit(in_channels=4)
    model.data_info = pf.DataInfo.of_latents(STABLE_DIFFUSION)
    text = card(model, licence="mit", has_sheet=False)
    height = 8 * model.config.image_size[0]
    assert f"Images of {height}×{height} pixels" in text
    assert "latent-space" in text
    assert "| autoencoder | `stabilityai/sd-vae-ft-ema` (AutoencoderKL), downloaded apart" in text
    assert "| weights | mit |" in text
    assert "sheet.png" not in text


def test_a_card_knows_whether_it_was_changed():
    text = card(tiny_dit())
    assert is_untouched(text)
    assert is_untouched(text.replace("\n", "\r\n"))
    assert not is_untouched(text.replace("# model", "# My model"))
    assert not is_untouched(text + "More.\n")
    assert not is_untouched("# Mine\n")
    assert ModelCard(text).data.library_name == "patch-forcing"


@pytest.fixture
def latent(tmp_path):
    """A model that calls its autoencoder and its text encoder by places on this disk."""
    model = tiny_dit(in_channels=4, num_classes=0)
    space = replace(STABLE_DIFFUSION, name=str(tmp_path / "vae"))
    text = TextSpace(str(tmp_path / "t5"), "t5 0123")
    model.data_info = replace(pf.DataInfo.of_latents(space), text=text)
    model.save(tmp_path / "model")
    return tmp_path / "model"


def test_places_on_this_disk_are_named_as_others_find_them(latent, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    words = Words(autoencoder="a/vae")
    with pytest.raises(pf.UserError, match=r"text encoder is /.*t5, .*with --text-encoder OWNER/"):
        write_shared(str(latent), "me/model", out, words, sheet=False)
    with pytest.raises(pf.UserError, match=r"autoencoder is /.*vae, which others do not have: say"):
        write_shared(str(latent), "me/model", out, Words(), sheet=False)
    words = replace(words, text_encoder="a/t5")
    with pytest.raises(pf.UserError, match="no sheet can be drawn, --no-sheet does without: the a"):
        write_shared(str(latent), "me/model", out, words)
    assert not [*out.iterdir()]
    write_shared(str(latent), "me/model", out, words, sheet=False)
    info = pf.load_model(out).data_info
    assert (info.autoencoder.name, info.text.encoder) == ("a/vae", "a/t5")
    assert str(tmp_path) not in (out / "config.json").read_text() + (out / "README.md").read_text()
    assert (out / "model.safetensors").read_bytes() == (latent / "model.safetensors").read_bytes()
