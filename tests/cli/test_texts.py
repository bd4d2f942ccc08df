"""Texts on the command line: any prompt works, and what cannot is one line and writes nothing."""

import json
import logging
import shlex
import sys

import pytest

from patch_forcing.cli.main import main, run
from patch_forcing.models.config import DataInfo
from patch_forcing.text.conditions import open_reader
from tests.support.exact import tiny_dit
from tests.support.image_files import photos
from tests.support.text_encoders import write_encoder

SAMPLE = ["sample", "model", "--steps", "1", "--count", "1", "--out", "out"]


@pytest.fixture
def model(here):
    tiny_dit(condition="bytes:length=12,refiner=1", num_classes=0).save(here / "model")
    return here


@pytest.mark.parametrize(
    ("prompt", "read"),
    [
        ("", ""),
        ("  a\tred\r\ncat\x00\x1b", "a red cat"),
        ("猫が好き", "猫が好き"),
        ("\ufeffשלום \u200f(עולם)", "שלום \u200f(עולם)"),
        ("👩\u200d👩\u200d👧 ❤\ufe0f", "👩\u200d👩\u200d👧 ❤\ufe0f"),
        ("cafe\u0301", "caf\u00e9"),
        ("x" * 5000, "x" * 5000),
        ("NONE", "NONE"),
    ],
)
def test_any_prompt_is_sampled_recorded_and_what_was_cut_is_said(model, caplog, prompt, read):
    with caplog.at_level(logging.WARNING):
        run([*SAMPLE, f"--prompt={prompt}"])
    (row,) = json.loads((model / "out" / "samples.json").read_text())
    assert row["prompt"] == read
    cut = [line for line in caplog.messages if "longer than 12 bytes; not read: " in line]
    assert len(cut) == (len(read.encode()) > 12)
    assert all(line.isprintable() and len(line) < 200 for line in cut)


@pytest.fixture
def refused_with(model, capsys, monkeypatch):
    """As `refused`, of arguments that may hold spaces."""

    def check(arguments, message):
        monkeypatch.setattr(sys, "argv", ["patch-forcing", *arguments])
        before = sorted(model.rglob("*"))
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        assert (end.value.code, printed.out, len(printed.err.splitlines())) == (2, "", 1)
        assert message in printed.err
        assert sorted(model.rglob("*")) == before

    return check


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prompt", "a \udcff cat"], "holds half a character: write it anew"),
        (["--prompts", "missing.txt"], "--prompts missing.txt cannot be read (No such file"),
        (["--prompts", "model"], "--prompts model cannot be read (Is a directory"),
        (["--prompts", "empty.txt"], "--prompts empty.txt holds no prompt: write one a line"),
        (["--prompts", "other.txt"], "--prompts other.txt is no UTF-8 text: save it as UTF-8"),
        (["--labels", "3"], "--labels 3: model takes --prompt: give those"),
    ],
)
def test_what_is_no_prompt_is_one_line(model, refused_with, arguments, message):
    (model / "empty.txt").write_text("\ufeff\r\n \r\n")
    (model / "other.txt").write_bytes("猫\n".encode("utf-16"))
    refused_with([*SAMPLE, *arguments], message)


def test_a_model_whose_encoder_is_missing_or_another_says_which_it_needs(model, refused_with):
    write_encoder(model / "t5", "t5")
    reader = open_reader("t5", 6)
    of_encoder = tiny_dit(condition=reader.kind, num_classes=0)
    of_encoder.data_info = DataInfo(text=reader.space)
    of_encoder.save(model / "model")
    run([*SAMPLE, "--prompt", "a cat"])
    assert json.loads((model / "out" / "samples.json").read_text())[0]["prompt"] == "a cat"
    (model / "t5").rename(model / "gone")
    name = reader.space.name
    refused_with([*SAMPLE, "--prompt", "a cat"], f"this model reads texts by {name}, but: unknown")
    write_encoder(model / "t5", "t5", seed=1)
    refused_with([*SAMPLE, "--prompt", "a cat"], f"but the model was trained with {name}: bring")
    run([*SAMPLE, "--prompt", "none"])


TRAIN = "train folder --data.path images --data.template {class} --network.condition text"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--text.encoder missing", "unknown text encoder 'missing': known: OWNER/NAME of the Hub"),
        ("--text.encoder images", "images/config.json is missing: give the folder of a text enc"),
        ("--text.encoder t5 --text.cache store", "store holds embeddings of small, not of t5 "),
        ("--text.encoder t5 --text.cache images", "images holds other files, and no embeddings"),
        ("--text.encoder bytes --text.cache store", "text.cache=store with bytes"),
        ("--text.length 0", "text.length=0 is out of range"),
        ("--data.template {1} {colour}", "unknown field of data.template 'colour'"),
        ("--data.levels a,b", "data.levels=a,b: data.depth=2, but images of images lie 1 folder"),
        ("--data.buckets 6 --data.size 16", "data.buckets=6 does not divide data.size=16"),
    ],
)
def test_training_on_texts_that_cannot_be_read_is_refused(model, refused_with, arguments, message):
    photos(model / "images", {"cat": 2, "owl": 2})
    write_encoder(model / "t5", "t5")
    (model / "store").mkdir()
    index = {"format_version": 1, "encoder": "small", "width": 6}
    (model / "store" / "embeddings.json").write_text(json.dumps(index))
    how = "--steps 1 --init-from none --device cpu --network.patch-size 4"
    refused_with(shlex.split(f"{TRAIN} {how} {arguments}"), message)
