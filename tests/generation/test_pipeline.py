"""From names and seeds to images."""

import json

import numpy as np
import pytest
import torch
from huggingface_hub import constants

import patch_forcing as pf
from patch_forcing.features.emoji import load_emoji_features
from patch_forcing.generation.find import bundled_names, find_model
from patch_forcing.generation.pipeline import Pipeline, load
from patch_forcing.io.model_layout import is_model_folder
from patch_forcing.models.config import SamplingInfo
from patch_forcing.runs.trainer import train
from patch_forcing.sampling.grids import QuantileGrid, ShiftedGrid
from patch_forcing.sampling.samplers import SAMPLERS

GUIDED = {"guidance_scale": 3.0, "guidance_interval": (0.1, 0.8)}
REUSING = "adams-bashforth:reuse_guidance=true"


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def test_the_digits_model_is_bundled_and_trained_by_its_recipe(digits):
    assert "digits" in bundled_names()
    assert digits.model.data_info.class_names == tuple("0123456789")
    # trained weights: no gate is at its initial zero
    gates = [block.adaLN_modulation[1].weight.abs().max() for block in digits.model.blocks]
    assert min(gates) > 0


def test_guided_samples_of_the_bundled_emoji_model_are_read_as_what_was_asked_for():
    pipe = load("emoji-64")
    labels = range(0, 96, 12)
    result = pipe(
        labels,
        range(8),
        sampler="adams-bashforth",
        nfe=12,
        guidance_scale=3.0,
        guidance_interval=(0.1, 0.8),
    )
    read = load_emoji_features().read(result.pixels).classes
    assert (read == torch.tensor(labels)).sum() >= 5  # 92 % of 10,000: fewer than 5 is 1 in 600


def test_the_emoji_classes_are_unicodes_subgroups():
    names = load("emoji-64").model.data_info.class_names
    assert len(set(names)) == 99
    assert {"face-smiling", "cat-face", "country-flag"} <= set(names)


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_an_image_depends_on_its_seed_and_not_on_its_batch(digits, sampler):
    together = digits([3, 7, 1, 0, 9], range(5), sampler=sampler, nfe=8, batch_size=5)
    for batch_size in (1, 2, 3):
        apart = digits([3, 7, 1, 0, 9], range(5), sampler=sampler, nfe=8, batch_size=batch_size)
        difference = (together.pixels.int() - apart.pixels.int()).abs().max()
        assert difference <= 1  # one grey level of rounding
    backwards = digits([9, 0], [4, 3], sampler=sampler, nfe=8)
    assert (backwards.pixels.flip(0).int() - together.pixels[3:].int()).abs().max() <= 1


def test_what_an_image_costs_depends_on_its_seed_and_not_on_its_batch(digits):
    results = [
        digits([3, 7, 1, 0, 9], range(5), sampler="adaptive:exit=0.05", nfe=12, batch_size=size)
        for size in (5, 2)
    ]
    together, apart = (result.image_nfe for result in results)
    assert together == pytest.approx(apart, abs=0.1)  # a patch on the edge may round either way
    assert len(set(together)) > 1
    assert all(nfe < 12 for nfe in together)
    assert all(len(result.image_nfe) == 5 for result in results)


def test_seeds_give_different_images_and_labels_matter(digits):
    pixels = digits([3], range(4), num_steps=2).pixels
    assert len({image.numpy().tobytes() for image in pixels}) == 4
    assert not digits([3], [0], num_steps=2).pixels.equal(digits([4], [0], num_steps=2).pixels)


def test_nfe_counts_every_evaluation_guidance_included(digits):
    assert digits([3], [0], sampler="euler", num_steps=5).nfe == 5
    assert digits([3], [0], sampler="euler", num_steps=5, guidance_scale=2.0).nfe == 10
    assert digits([3], [0], sampler="dual-loop", num_steps=3).nfe == 12
    half = digits(
        [3], [0], sampler="euler", num_steps=4, guidance_scale=2.0, guidance_interval=(0.5, 1.0)
    )
    assert half.nfe == 6  # t = 0, ¼ alone; ½, ¾ guided
    assert digits([3], [0], sampler="look-ahead", nfe=20, guidance_scale=2.0).nfe == 18


def test_the_default_length_is_48_calls(digits):
    assert digits([3], [0], sampler="euler").nfe == 48
    assert digits([3], [0], sampler="dual-loop").nfe == 48


def test_a_fitted_grid_is_the_default_of_a_model_that_has_one(digits):
    fitted = QuantileGrid((0.0, 0.2, 1.0))
    pipe = Pipeline("fitted", digits.folder, pf.load_model(digits.folder))
    pipe.model.sampling_info = SamplingInfo(fitted.quantiles)
    for options in ({}, {"time_grid": "fitted"}):
        assert pipe([3], [0], sampler="euler", num_steps=4, **options).time_grid == fitted(4)
    uniform = pipe([3], [0], sampler="euler", num_steps=4, time_grid="uniform").time_grid
    assert uniform == digits([3], [0], sampler="euler", num_steps=4).time_grid


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_every_sampler_honours_a_named_grid_and_a_budget(digits, sampler):
    result = digits([3], [0], sampler=sampler, nfe=20, time_grid="shifted:shift=2")
    assert result.time_grid == ShiftedGrid(2)(len(result.time_grid) - 1)
    assert result.nfe <= 20


def test_a_trace_holds_every_image_of_every_batch(digits):
    result = digits([1], range(5), sampler="dual-loop", num_steps=2, trace=True, batch_size=2)
    assert len(result.trace) == 8
    for evaluation in result.trace:
        assert evaluation.t.shape == evaluation.difficulty.shape == (5, 16)
        assert evaluation.evaluated.shape == (5, 16)
    assert digits([1], [0], num_steps=2).trace is None


@pytest.mark.parametrize(
    ("sampler", "options", "used", "steps"),
    [
        ("multirate", {"nfe": 10}, "multirate:rates=1,shares=1", 10),
        ("multirate", {"nfe": 20}, "multirate:rates=1,shares=1", 20),
        ("multirate", {"nfe": 30}, "multirate", 20),
        ("multirate", {"nfe": 16, "guidance_scale": 2.0}, "multirate:rates=1,shares=1", 8),
        ("multirate:order=1", {"nfe": 9}, "multirate:order=1", 6),
        ("multirate", {"num_steps": 4}, "multirate", 4),
        ("adams-bashforth", {"nfe": 8}, "adams-bashforth", 8),
        ("adams-bashforth", {"nfe": 8, **GUIDED}, REUSING, 5),
        ("adams-bashforth", {"nfe": 8, "guidance_scale": 3.0}, "adams-bashforth", 4),
        (
            "adams-bashforth",
            {"nfe": 8, **GUIDED, "guidance_schedule": "linear"},
            "adams-bashforth",
            4,
        ),
        ("adams-bashforth", {"nfe": 30, **GUIDED}, "adams-bashforth", 17),
        ("dual-loop", {"nfe": 24}, "dual-loop:easy_fraction=0.6,inner_steps=2", 12),
        ("dual-loop", {"nfe": 48}, "dual-loop", 12),
    ],
)
def test_a_budget_chooses_the_settings_of_a_sampler_without_options(
    digits, sampler, options, used, steps
):
    result = digits([1], [0], sampler=sampler, **options)
    assert (result.sampler, len(result.time_grid)) == (used, steps + 1)
    assert result.nfe <= options.get("nfe", result.nfe)


def test_images_are_the_pixels(digits):
    result = digits([2], range(3), num_steps=2)
    assert [image.size for image in result.images] == [(8, 8)] * 3
    for image, pixels in zip(result.images, result.pixels, strict=True):
        assert np.array_equal(np.array(image), pixels[0].numpy())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"labels": [10]}, "label 10 is out of range: this model knows 0 to 9"),
        ({"labels": [-1]}, "label -1 is out of range"),
        ({"labels": []}, "labels .*: give one or more"),
        ({"labels": [1], "seeds": []}, "no seeds"),
        ({"labels": [1], "seeds": [-1]}, "seed -1"),
        ({"labels": [1], "sampler": "eular"}, "did you mean 'euler'"),
        ({"labels": [1], "num_steps": 0}, "steps=0 is out of range"),
        ({"labels": [1], "num_steps": 2, "nfe": 9}, "steps and nfe exclude each other"),
        ({"labels": [1], "num_steps": 2, "time_grid": [0.0, 1.0]}, "times and a number of steps"),
        ({"labels": [1], "time_grid": "fitted"}, "digits has no fitted time grid: choose uniform"),
        ({"labels": [1], "time_grid": "unifrm"}, "did you mean 'uniform'"),
        ({"labels": [1], "time_grid": "shifted:shift=0"}, "shift=0.0 is out of range"),
        ({"labels": [1], "sampler": "dual-loop", "nfe": 1}, "1 evaluations are too few"),
        ({"labels": [1], "guidance_scale": -1.0}, "guidance scale -1"),
        ({"labels": "none", "guidance_scale": 2.0}, "guidance without a condition"),
        ({"labels": [1], "time_grid": [0.0, 0.7, 0.5, 1.0]}, "does not rise at step 1"),
    ],
)
def test_wrong_values_are_named_before_any_work(digits, options, says):
    with pytest.raises(pf.UserError, match=says):
        digits(**options)


def test_a_run_folder_is_its_newest_average(recipe, tmp_path):
    outcome = train("digits", recipe, tmp_path / "run", progress=False)
    assert find_model(tmp_path / "run") == outcome.checkpoint / "ema"
    assert is_model_folder(outcome.checkpoint / "ema")
    assert len(load(tmp_path / "run")([5], [0], num_steps=1).images) == 1


def test_the_hash_tells_models_apart(digits, recipe, tmp_path):
    train("digits", recipe, tmp_path / "run", progress=False)
    assert load(tmp_path / "run").hash != digits.hash
    assert load("digits").hash == digits.hash


def test_what_is_no_model_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(pf.UserError, match="empty is empty"):
        find_model(tmp_path / "empty")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"")
    with pytest.raises(pf.UserError, match="holds neither a model nor a run"):
        find_model(tmp_path / "photos")
    with pytest.raises(pf.UserError, match="is a file"):
        find_model(tmp_path / "photos" / "a.png")
    with pytest.raises(pf.UserError, match="did you mean 'digits'"):
        find_model("digitz")
    for name in (tmp_path / "here" / "gone", str(tmp_path / "gone"), "./gone/it", "a/b/c"):
        with pytest.raises(pf.UserError, match=r"^no folder .* is there\): give the folder of a"):
            find_model(name)
    with pytest.raises(pf.UserError, match=r"^no folder ~/x .*: ~ is not expanded here"):
        find_model("~/x")
    (tmp_path / "young").mkdir()
    (tmp_path / "young" / "run.json").write_text(json.dumps({"name": "digits", "recipe": {}}))
    with pytest.raises(pf.UserError, match="no checkpoint yet"):
        find_model(tmp_path / "young")
    with pytest.raises(pf.UserError, match=r"no folder .*yuong .*did you mean '.*/young'\?$"):
        find_model(tmp_path / "yuong")


def test_a_hub_id_is_read_from_the_local_cache(digits, tmp_path, monkeypatch):
    """The Hub's own client finds what it downloaded before, without a network."""
    revision = "0" * 40
    cache = tmp_path / "hub" / "models--someone--digits"
    digits.model.save(cache / "snapshots" / revision)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(revision)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert find_model("someone/digits") == cache / "snapshots" / revision
    with pytest.raises(pf.UserError, match=r"someone/else: no such folder .*and not from the Hub"):
        find_model("someone/else")
