"""Captions train a network of texts: end to end, resumed bit for bit, sampled with a prompt."""

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image

import patch_forcing as pf
from patch_forcing.data.batch import HoldsOut, Inferred, ReplacesBadSamples
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.source import Captioned, GivesTexts
from patch_forcing.data.sources import FolderSource
from patch_forcing.io.atomic import remove_leftovers
from patch_forcing.runs.recipe import Network, Recipe
from patch_forcing.runs.recorded import open_data
from patch_forcing.runs.texts import fill_store
from patch_forcing.runs.trainer import train
from patch_forcing.text.conditions import open_reader
from patch_forcing.training.options import OptimizerConfig, TextConfig
from tests.support.same_runs import losses
from tests.support.several_ranks import train_on
from tests.support.text_encoders import write_encoder

CAPTIONS = ["a red cat", "two dog\r\n", "\ufeffa blue mat", "猫 👩", "a red cat", "שלום"]


@pytest.fixture
def recipe(tmp_path):
    """Of six images with captions beside them, for a network that reads bytes."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number, caption in enumerate(CAPTIONS):
        image = Image.new("RGB", (8, 8), (40 * number, 90, 200))
        image.save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_bytes(caption.encode())
    return Recipe(
        FolderSource(path=str(folder), size=8, held_out=0.34),
        Network(2, 16, 1, 2, condition="text", position="rope", condition_size=8),
        OptimizerConfig(lr=1e-2, warmup_steps=1),
        text=TextConfig(length=12),
        steps=5,
        batch_size=4,
        checkpoint_every=2,
        log_every=1,
        sample_every=5,
        label_dropout=0.5,
        ema_decay=0.5,
        seed=3,
    )


def test_captions_train_resume_bit_for_bit_and_are_sampled(recipe, tmp_path):
    train("texts", recipe, tmp_path / "whole", progress=False)
    train("texts", replace(recipe, steps=2), tmp_path / "halves", progress=False)
    train("texts", recipe, tmp_path / "halves", progress=False)
    remove_leftovers(tmp_path)
    whole, halves = (pf.load(tmp_path / name) for name in ("whole", "halves"))
    weights = whole.model.state_dict()
    assert all(weights[name].equal(w) for name, w in halves.model.state_dict().items())
    assert weights["y_embedder.table.weight"].shape == (257, 16)
    assert whole.model.config.condition == "bytes:length=12"
    lines = (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()
    assert {"held_out", "seen"} <= json.loads(lines[-1]).keys()
    shown = whole(num_steps=1).conditions.texts
    assert set(shown) <= {"a red cat", "two dog", "a blue mat", "猫 👩", "שלום"}
    assert len(shown) == len(set(shown)) > 1
    how = {"seeds": [0], "num_steps": 2, "guidance_scale": 2.0}
    cat = whole(prompt="a red cat", **how)
    assert not cat.pixels.equal(whole(prompt="two dog", **how).pixels)
    record = json.loads((tmp_path / "whole" / "run.json").read_text())
    assert record["recipe"]["text"]["length"] == 12
    assert record["found"]["text_encoder"] == "bytes:length=12"


@pytest.mark.slow
def test_ranks_that_share_a_model_of_texts_train_as_those_that_hold_it_whole(recipe, tmp_path):
    recipe = replace(recipe, deterministic=True, sample_every=0)
    for parallel in ("replicate", "shard"):
        part = replace(recipe, parallel=parallel)
        assert train_on(2, part, tmp_path / parallel) == [(0, "")] * 2
    whole, shared = (losses(tmp_path / parallel) for parallel in ("replicate", "shard"))
    assert [loss for _, loss in shared] == pytest.approx([loss for _, loss in whole], rel=1e-5)


def test_data_that_are_read_can_do_what_they_could_and_give_conditions(recipe, tmp_path):
    plain = recipe.data.open()
    _, data = open_data(tmp_path / "run", recipe)
    assert isinstance(data, GivesTexts)
    for part in (Inferred, HoldsOut, ReplacesBadSamples, Captioned):
        assert isinstance(data, part) == isinstance(plain, part)
    batch = data.batch(BatchSpec(0, 4, 0))
    assert batch.captions is None
    assert batch.condition.shape == (4, 12)
    assert batch.x_1.equal(plain.batch(BatchSpec(0, 4, 0)).x_1)
    assert all(one.batch.condition is not None for one in data.examples(2))


def test_a_share_of_captions_is_short_and_the_same_on_any_ranks(recipe, tmp_path):
    for file in (tmp_path / "images").glob("*.txt"):
        file.write_text("a. b c.")
    recipe = replace(
        recipe, text=replace(recipe.text, short=0.5), data=replace(recipe.data, held_out=0.0)
    )
    _, data = open_data(tmp_path / "run", recipe)
    spec = BatchSpec(1, 64, 0)
    lengths = (data.batch(spec).condition > 0).sum(1)
    assert set(lengths.tolist()) == {2, 7}
    part = data.batch(replace(spec, places=range(16, 48))).condition
    assert (part > 0).sum(1).equal(lengths[16:48])


def test_an_encoder_of_transformers_reads_once_and_into_a_store(recipe, tmp_path, monkeypatch):
    encoder = str(write_encoder(tmp_path / "t5", "t5"))
    text = TextConfig(encoder, length=6, cache=str(tmp_path / "store"))
    with_encoder = replace(recipe, text=text)
    _, data = open_data(tmp_path / "run", with_encoder)
    fill_store(data, progress=False)
    spec = BatchSpec(0, 4, 0)
    expected = data.batch(spec).condition.nan_to_num()
    _, again = open_data(tmp_path / "run", with_encoder)
    with monkeypatch.context() as patch:
        patch.setattr(again._text_reader.encoder, "encode", None)  # not needed any more
        assert again.batch(spec).condition.nan_to_num().equal(expected)
    _, uncached = open_data(tmp_path / "run", replace(recipe, text=replace(text, cache=None)))
    assert uncached.batch(spec).condition.nan_to_num().equal(expected)
    assert data.info.text.encoder == encoder
    assert recipe.network.config(data).condition == "text:width=16,length=6"
    assert torch.isnan(data.batch(spec).condition).any()


def test_data_without_captions_and_other_mistakes_are_one_line(recipe, tmp_path):
    for file in (tmp_path / "images").glob("*.txt"):
        file.unlink()
    with pytest.raises(pf.UserError, match=r"network.condition=text for data without captions"):
        open_data(tmp_path / "run", recipe)
    with pytest.raises(pf.UserError, match=r"text.length=0"):
        TextConfig(length=0)
    with pytest.raises(pf.UserError, match=r"without captions to read: add --network.condition"):
        replace(recipe, network=replace(recipe.network, condition="class"))
    for text in (TextConfig(bf16=True), TextConfig("wordllama", bf16=True), TextConfig(cache="x")):
        with pytest.raises(pf.UserError, match="leave it out"):
            open_reader(text.encoder, 4, bf16=text.bf16, store=text.cache)
