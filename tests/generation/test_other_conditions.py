"""Another kind of condition is two modules: what networks make of it, and what users write.

Pipelines, galleries, arrays of images and benchmarks take it as it comes.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import patch_forcing as pf
from patch_forcing.generation.condition_kinds import KINDS
from patch_forcing.generation.conditions import ConditionKind, Conditions
from patch_forcing.generation.fit import fit_time_grid
from patch_forcing.generation.gallery import sample_rows, write_model_sheet, write_samples
from patch_forcing.generation.request import SampleRequest
from patch_forcing.generation.sample_shards import SampleJob, ShardOptions
from patch_forcing.io.npz import read_about
from patch_forcing.models.condition_kinds import CONDITIONS
from patch_forcing.models.conditions import Condition, Embedded
from patch_forcing.scoring.front import Question, front
from tests.support.exact import tiny_dit

COLOURS = {"red": (1.0, 0.0, 0.0), "green": (0.0, 1.0, 0.0), "blue": (0.0, 0.0, 1.0)}


class ColourEmbedder(nn.Module):
    """A colour (B, 3) → width D; black is the null condition."""

    def __init__(self, hidden_size: int):
        super().__init__()
        self.linear = nn.Linear(3, hidden_size)

    def forward(self, colours):
        return Embedded(self.linear(colours))

    def init_weights(self):
        pass

    def check(self, condition, batch):
        if condition.shape != (batch, 3):
            raise pf.UserError(f"colours {tuple(condition.shape)}: give ({batch}, 3)")

    def null(self, batch):
        return torch.zeros(batch, 3, device=self.linear.weight.device)


@dataclass(frozen=True)
class ColourCondition:
    """For the network."""

    def module(self, sizes: pf.PatchDiTConfig) -> ColourEmbedder:
        return ColourEmbedder(sizes.hidden_size)


@dataclass(frozen=True)
class ColourNames:
    """One for all images, or one for each."""

    names: tuple[str, ...]
    labels: ClassVar[None] = None

    def __len__(self):
        return len(self.names)

    def __getitem__(self, images: slice):
        return ColourNames(self.names[images])

    def for_seeds(self, seeds: Sequence[int]):
        return ColourNames(tuple(self.names[seed % len(self.names)] for seed in seeds))

    def by_seed(self):
        return self

    def tensor(self, device):
        return torch.tensor([COLOURS[name] for name in self.names], device=device)

    def captions(self, seeds):
        return list(self.names)

    def record(self, image):
        return {"prompt": self.names[image]}

    def plan(self):
        return {"prompts": " ".join(self.names)}


@dataclass(frozen=True)
class Colours:
    """For users."""

    keyword: ClassVar[str] = "prompt"

    @classmethod
    def of(cls, model, name):  # noqa: ARG003 — one signature for all kinds
        return cls()

    def parse(self, text):
        return ColourNames(tuple(text.split()))

    def choose(self, values):
        return self.parse(values) if isinstance(values, str) else ColourNames(tuple(values))

    def first(self, limit):
        return ColourNames(tuple(COLOURS)[:limit])

    def in_turn(self, count):
        return ColourNames(tuple(list(COLOURS)[i % 3] for i in range(count)))

    evenly = in_turn


@pytest.fixture
def pipe(monkeypatch, tmp_path):
    monkeypatch.setitem(CONDITIONS, "colour", ColourCondition)
    monkeypatch.setitem(KINDS, "colour", Colours)
    tiny_dit(condition="colour", num_classes=0).save(tmp_path / "model")
    return pf.load(tmp_path / "model")


HOW = {"sampler": "euler", "num_steps": 2, "guidance_scale": 2.0}


def test_the_parts_are_what_they_are_used_as():
    assert isinstance(ColourCondition(), Condition)
    assert isinstance(Colours(), ConditionKind)
    assert isinstance(ColourNames(("red",)), Conditions)


def test_a_call_takes_it_and_images_depend_on_it_alone(pipe):
    result = pipe(prompt=["red", "blue", "red"], seeds=[0, 1, 0], **HOW)
    assert result.conditions == ColourNames(("red", "blue", "red"))
    assert result.labels is None
    assert result.pixels[0].equal(result.pixels[2])
    apart = pipe(prompt=["blue"], seeds=[1], **HOW).pixels[0]
    assert (apart.int() - result.pixels[1].int()).abs().max() <= 1
    assert not apart.equal(pipe(prompt=["green"], seeds=[1], **HOW).pixels[0])
    with pytest.raises(pf.UserError, match=r"labels .*: this model takes prompt"):
        pipe([3], [0])
    assert pipe(seeds=[0, 4], **HOW).conditions == ColourNames(("red", "green"))


@pytest.mark.usefixtures("pipe")
def test_a_model_of_classes_refuses_it():
    with pytest.raises(pf.UserError, match=r"prompt .*: this model takes labels"):
        pf.load("digits")(prompt=["red"])


def test_galleries_and_arrays_write_it(pipe, tmp_path):
    result = pipe(prompt=["green", "red"], seeds=[4, 9], trace=True, **HOW)
    write_samples(result, pipe, tmp_path / "out", maps=True)
    rows = json.loads((tmp_path / "out" / "samples.json").read_text())
    assert [row["prompt"] for row in rows] == ["green", "red"]
    assert list(sample_rows(result, pipe)[0])[:3] == ["seed", "prompt", "sampler"]
    with Image.open(tmp_path / "out" / "sheets" / "maps.png") as maps:
        assert maps.width > 100
    job = SampleJob(
        pipe,
        result.sampling,
        result.conditions,
        result.seeds,
        tmp_path / "a.npz",
        tmp_path / "shards",
        ShardOptions(shard_size=1),
    )
    assert job.run(progress=False).nfe == 4
    with np.load(tmp_path / "a.npz") as arrays:
        expected = result.pixels.permute(0, 2, 3, 1).numpy().astype(int)
        assert np.abs(arrays["arr_0"] - expected).max() <= 1
    assert read_about(tmp_path / "a.npz")["prompts"] == "green red"
    assert json.loads((tmp_path / "shards" / "samples.json").read_text())[1]["prompt"] == "red"


def test_previews_benchmarks_and_fits_show_it(pipe, tmp_path):
    with Image.open(write_model_sheet(pipe.model, tmp_path, 3)) as sheet:
        assert sheet.width > 100
    (point,) = front(pipe, ["euler"], Question((2,), 4, SampleRequest(guidance_scale=1.0)))
    assert point.nfe == 2
    assert len(fit_time_grid(pipe.model, range(4), num_steps=8)) > 1
