"""Images of several aspects train a network of rotary positions, and resume bit for bit."""

import json
from dataclasses import replace

import pytest
import torch

import patch_forcing as pf
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.sources import FolderSource
from patch_forcing.io.atomic import remove_leftovers
from patch_forcing.runs.recipe import Network, Recipe
from patch_forcing.runs.recorded import open_data
from patch_forcing.runs.state import initial_state
from patch_forcing.runs.step import TrainStep
from patch_forcing.runs.trainer import train
from patch_forcing.training.options import AlignmentConfig, OptimizerConfig, TextConfig
from tests.scripts.recorded_step import CLOSE
from tests.support.image_files import photos
from tests.support.scripts import run_script


@pytest.fixture
def recipe(tmp_path):
    """Of pictures in three aspects, captioned by their folders."""
    folder = tmp_path / "images"
    for shape, name in (((30, 20), "tall tree"), ((20, 30), "lake"), ((24, 24), "owl")):
        photos(folder, {name: 5}, shape)
    source = FolderSource(
        path=str(folder), size=16, buckets=4, held_out=0.2, template=("a {class}",)
    )
    return Recipe(
        source,
        Network(4, 16, 1, 2, condition="text", position="rope"),
        OptimizerConfig(lr=1e-2, warmup_steps=1),
        text=TextConfig(length=12),
        steps=8,
        batch_size=4,
        accumulate=2,
        checkpoint_every=3,
        log_every=1,
        sample_every=0,
        ema_decay=0.5,
        seed=3,
    )


def test_several_sizes_train_and_resume_bit_for_bit(recipe, tmp_path):
    train("folder", recipe, tmp_path / "whole", progress=False)
    for steps in (3, 4, 8):
        train("folder", replace(recipe, steps=steps), tmp_path / "parts", progress=False)
    remove_leftovers(tmp_path)
    whole, parts = (pf.load(tmp_path / name).model for name in ("whole", "parts"))
    weights = whole.state_dict()
    assert all(weights[name].equal(w) for name, w in parts.state_dict().items())
    rows = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").open()]
    assert {"held_out", "seen", "velocity"} <= rows[-1].keys()
    record = json.loads((tmp_path / "whole" / "run.json").read_text())
    assert record["found"]["buckets"].keys() == {"20×12", "16×16", "12×20"}
    assert whole.config.input_size == (16, 16)


def test_the_network_sees_where_each_image_is_in_its_picture(recipe, tmp_path):
    _, data = open_data(tmp_path / "run", recipe)
    seen = set()
    for number in range(12):
        batch = data.batch(BatchSpec(number, 4, 3))
        shape = tuple(batch.x_1.shape[2:])
        if shape in seen:
            continue
        seen.add(shape)
        step = TrainStep(initial_state(recipe, data, "cpu"), recipe, "cpu")
        with torch.no_grad():  # the output projection starts at zero: any other weights will do
            for weight in step._state.model.parameters():
                weight.normal_(std=0.1, generator=torch.Generator().manual_seed(1))
        inputs = step.inputs(batch, number)
        assert inputs.crop.equal(batch.crop)
        assert [part[6].shape for part in inputs.parts(2)] == [(2, 4)] * 2
        with_crop, without = (
            step._loss(step._state.model, {}, *inputs._replace(crop=crop)[:7], ())
            for crop in (batch.crop, None)
        )
        assert with_crop.total.isfinite()
        whole = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(4, 4)
        assert (with_crop.total == without.total) == batch.crop.equal(whole)
    assert seen == set(data.sizes)


def test_alignment_to_one_grid_is_refused(recipe, tmp_path):
    aligned = replace(recipe, alignment=AlignmentConfig("emoji", projector_dim=4))
    with pytest.raises(pf.UserError, match=r"alignment.encoder=emoji with data.buckets"):
        train("folder", aligned, tmp_path / "run", progress=False)


@pytest.mark.parametrize(
    "device",
    [pytest.param("cpu", marks=pytest.mark.slow), pytest.param("cuda", marks=pytest.mark.gpu)],
)
def test_the_compiled_step_of_each_size_is_the_step(device):
    differences = json.loads(run_script("bucketed_step", device))
    assert len(differences) == 2
    assert max(differences.values()) < CLOSE, differences
