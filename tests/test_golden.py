"""Losses, samples, recipes and model folders are what they were: see tests/golden."""

import hashlib
import json

import numpy as np
import pytest

import patch_forcing as pf
from patch_forcing.generation.find import find_bundled
from patch_forcing.runs.changed_recipe import BEFORE
from patch_forcing.runs.recipes import RECIPES
from patch_forcing.sampling.samplers import SAMPLERS
from tests.scripts import golden_losses
from tests.scripts.golden_recipes import FILE, resolved
from tests.scripts.golden_samples import MODELS, recorded, sampled
from tests.support.golden import machine

CURVES = golden_losses.recorded()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Where the recipes' data are made, once."""
    return tmp_path_factory.mktemp("recipes")


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_as_was_recorded(name, made):
    records = f"python -m tests.scripts.golden_losses {name}"
    assert name in CURVES, f"{name} has no golden curve: {records} records it"
    expected, curve = CURVES[name], golden_losses.trained(name, made)
    near, near_at_end = golden_losses.tolerance(name, expected["on"])
    changed = f"{name} trains otherwise: if that is meant, {records} records it"
    assert curve["losses"] == pytest.approx(expected["losses"], rel=near), changed
    assert curve["averages"].keys() == expected["averages"].keys()
    for average, (norm, probe) in expected["averages"].items():
        at_end = pytest.approx([norm, probe], rel=0, abs=near_at_end * norm)
        assert curve["averages"][average] == at_end, f"{average}: {changed}"


def test_golden_curves_are_of_recipes_that_are_there_and_learn():
    assert CURVES.keys() <= RECIPES.keys()
    for name, curve in CURVES.items():
        assert curve["losses"][-1] < 0.92 * curve["losses"][0], name


COUNTS = {"nfe", "token_evaluations"}
"""What samplers that measure their error may spend otherwise where kernels round otherwise."""


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("model", MODELS)
def test_samples_of_a_seed_are_those_recorded(model, sampler, tmp_path):
    """Exact on the recorded kind of machine; else within a step of 255 in a few bytes."""
    record, lines = recorded(model)
    rows, images = sampled(model, sampler, tmp_path)
    expected = record["rows"][sampler]
    if record["on"] == machine():
        assert rows == expected
        assert np.array_equal(images, lines[sampler])
        return
    for row, old in zip(rows, expected, strict=True):
        assert {k: row[k] for k in old.keys() - COUNTS} == {k: old[k] for k in old.keys() - COUNTS}
    apart = np.abs(images.astype(int) - lines[sampler])
    assert apart.max() <= 1
    assert np.mean(apart > 0) < 0.01


@pytest.mark.parametrize(
    ("name", "sha256"),
    [
        ("digits", "bbf8f53d0ed33e4e"),
        ("emoji-64", "ec15e50eda31a38d"),
        pytest.param("emoji-text", "af4219606c9094b4", marks=pytest.mark.slow),
    ],
)
def test_a_bundled_model_is_saved_in_the_same_bytes(name, sha256, tmp_path):
    folder = find_bundled(name)
    pf.load_model(folder).save(tmp_path / name)
    assert (tmp_path / name / "config.json").read_bytes() == (folder / "config.json").read_bytes()
    weights = (tmp_path / name / "model.safetensors").read_bytes()  # in fp32
    assert hashlib.sha256(weights).hexdigest()[:16] == sha256


def flat(record: dict, prefix: str = "") -> dict[str, object]:
    """Its fields by dotted names."""
    fields = {}
    for name, value in record.items():
        inner = isinstance(value, dict)
        fields |= flat(value, f"{prefix}{name}.") if inner else {prefix + name: value}
    return fields


def test_commands_and_recipes_resolve_to_what_was_recorded():
    """A field may be new: then it does what was done before it was there."""
    recorded = json.loads(FILE.read_text(encoding="utf-8"))
    now = resolved()
    assert now.keys() >= recorded.keys()
    for what, record in recorded.items():
        before, after = flat(record), flat(now[what])
        assert {name: after.get(name) for name in before} == before, what
        new = {name.removeprefix("recipe."): after[name] for name in after.keys() - before.keys()}
        new = {name: new[name] for name in new if not name.startswith("recommended.")}
        assert new.items() <= BEFORE.items(), what
