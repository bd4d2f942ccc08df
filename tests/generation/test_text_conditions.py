"""Prompts: from users to networks and back into records."""

import json
import logging

import pytest

import patch_forcing as pf
from patch_forcing.cli.main import run
from patch_forcing.generation.conditions import ConditionKind, Conditions, NoConditions
from patch_forcing.generation.text_conditions import TextPrompts
from patch_forcing.models.config import DataInfo, Recommended, SamplingInfo
from patch_forcing.text.conditions import open_reader
from tests.support.exact import tiny_dit
from tests.support.text_encoders import write_encoder

HOW = {"sampler": "euler", "num_steps": 2}


@pytest.fixture
def pipe(tmp_path):
    tiny_dit(condition="bytes:length=12,refiner=1", num_classes=0).save(tmp_path / "model")
    return pf.load(tmp_path / "model")


def test_the_parts_are_what_they_are_used_as(pipe):
    kind = pipe.condition_kind
    assert isinstance(kind, TextPrompts)
    assert isinstance(kind, ConditionKind)
    prompts = kind.choose("a cat")
    assert isinstance(prompts, Conditions)
    assert isinstance(kind.parse("none"), NoConditions)
    assert kind.parse("a cat\r\na dog").texts == ("a cat", "a dog")
    assert kind.choose("a cat\na dog").texts == ("a cat a dog",)
    assert prompts.for_seeds([4, 7]).texts == ("a cat", "a cat")
    several = kind.choose(["a", "b", "c"])
    assert several.for_seeds([5, 3, 1]).texts == ("a", "b", "c")
    assert several.by_seed().for_seeds([5, 3, 1]).texts == ("c", "a", "b")
    assert several[1:].record(0) == {"prompt": "b"}
    assert kind.choose("x" * 61).captions([0]) == ["x" * 59 + "…"]


def test_a_prompt_is_given_by_keyword_or_alone_and_images_depend_on_it(pipe):
    first = pipe(prompt="a cat", seeds=[0, 1], guidance_scale=2.0, **HOW)
    assert first.conditions.texts == ("a cat", "a cat")
    assert pipe("a cat", [0, 1], guidance_scale=2.0, **HOW).pixels.equal(first.pixels)
    assert not pipe("a dog", [0, 1], guidance_scale=2.0, **HOW).pixels.equal(first.pixels)
    assert len(pipe(["a cat", "a dog"], **HOW).images) == 2
    unconditional = pipe("none", [0], **HOW)
    assert pipe("", [0], **HOW).pixels.equal(unconditional.pixels)
    with pytest.raises(pf.UserError, match="labels 3: this model takes prompt"):
        pipe(3, [0], **HOW)
    with pytest.raises(pf.UserError, match="prompt 3: give a text"):
        pipe(prompt=[3], **HOW)
    with pytest.raises(pf.UserError, match="prompt 'a': this model takes labels"):
        pf.load("digits")(prompt="a")


@pytest.mark.parametrize("prompt", ["", "猫が好き", "\x00\x1b[31m", "שלום", "👩‍👩‍👧❤️", "x" * 5000])
def test_any_text_is_a_prompt(pipe, prompt, caplog):
    with caplog.at_level(logging.WARNING):
        assert len(pipe(prompt=prompt, **HOW).images) == 1
    assert ("longer than 12 bytes" in caplog.text) == (len(prompt.encode()) > 12)
    assert len(caplog.text.splitlines()) <= 1


def test_a_model_of_an_encoder_names_it_and_samples_with_it(tmp_path):
    encoder = write_encoder(tmp_path / "t5", "t5")
    reader = open_reader(str(encoder), 6)
    model = tiny_dit(condition=reader.kind, num_classes=0)
    model.data_info = DataInfo(text=reader.space)
    model.sampling_info = SamplingInfo(recommended=Recommended(conditions="a cat\ntwo dog"))
    model.save(tmp_path / "model")
    stored = json.loads((tmp_path / "model" / "config.json").read_text())["data"]["text"]
    assert stored == {"encoder": str(encoder), "name": reader.space.name, "bf16": False}
    pipe = pf.load(tmp_path / "model")
    assert pipe(seeds=[1], **HOW).conditions.texts == ("two dog",)
    expected = reader(["a cat"]).condition.nan_to_num()
    given = pipe.condition_kind.choose("a cat").tensor("cpu")
    assert given.nan_to_num().equal(expected)
    encoder.rename(tmp_path / "gone")
    assert len(pipe("none", [0], **HOW).images) == 1
    with pytest.raises(pf.UserError, match="t5"):
        pipe("a cat", [0], **HOW)


@pytest.mark.usefixtures("pipe")
def test_the_command_takes_prompts_and_records_them(tmp_path):
    how = ["sample", str(tmp_path / "model"), "--steps", "1", "--out", str(tmp_path / "out")]
    run([*how, "--prompt", "a cat", "--prompt", "a dog", "--count", "3"])
    rows = json.loads((tmp_path / "out" / "samples.json").read_text())
    assert [row["prompt"] for row in rows] == ["a cat", "a dog", "a cat"]
    file = tmp_path / "prompts.txt"
    file.write_bytes("\r\n".join(f"text {n}" for n in range(1000)).encode("utf-8-sig"))
    run([*how, "--prompts", str(file), "--npz", str(tmp_path / "a.npz"), "--no-pngs"])
    rows = json.loads((tmp_path / "out" / "samples.json").read_text())
    assert [row["prompt"] for row in rows] == [f"text {n}" for n in range(1000)]
    for wrong, message in (
        (["--prompts", str(file), "--prompt", "a"], "exclude each other"),
        (["--prompts", "nothing.txt"], "nothing.txt cannot be read"),
        (["--labels", "3"], "--labels 3: .*model takes --prompt: give those"),
    ):
        with pytest.raises(pf.UserError, match=message):
            run([*how, *wrong])
