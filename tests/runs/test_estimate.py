"""What a run is said to take, against what it takes."""

import dataclasses
import json
from functools import cache

import pytest

from patch_forcing.data.emoji_text import CaptionedScenes
from patch_forcing.io.run_layout import checkpoint_path
from patch_forcing.runs.estimate import _KEPT, _PRODUCTS, estimate
from patch_forcing.runs.recipe import Network
from patch_forcing.runs.snapshots import SNAPSHOTS
from patch_forcing.runs.texts import with_texts
from patch_forcing.runs.trainer import train
from patch_forcing.training.options import TextConfig
from tests.scripts.kept_activations import WIDER, kept_by_a_step
from tests.support.scripts import run_script
from tests.support.things import grey_things


@pytest.fixture
def wider():
    return WIDER


@cache
def kept_plain(recipe):
    return kept_by_a_step(recipe, recipe.data.open())


@pytest.mark.parametrize("timesteps", ["ltg", "ltg:levels=4", "shared-uniform"])
@pytest.mark.parametrize("again", ["none", "all"])
@pytest.mark.parametrize("depth", [3, pytest.param(6, marks=pytest.mark.slow)])
def test_memory_is_within_a_fifth_of_what_a_step_keeps(wider, timesteps, again, depth):
    network = dataclasses.replace(wider.network, depth=depth)
    recipe = dataclasses.replace(
        wider, network=network, timesteps=timesteps, recompute_activations=again, batch_size=8
    )
    data = recipe.data.open()
    result = estimate(recipe, data, 1e12)
    constant = 28 * result.parameters  # weights, gradient, three averages, two of AdamW
    activations = result.memory_gib * 2**30 - constant
    kept = kept_plain(recipe)
    if again != "none":  # one block whole, besides: alive in the backward pass only
        once = dataclasses.replace(recipe, recompute_activations="none")
        kept += kept_plain(once) / depth
    assert activations == pytest.approx(kept, rel=0.2)
    parts = estimate(dataclasses.replace(recipe, accumulate=4), data, 1e12)
    assert parts.memory_gib * 2**30 - constant == pytest.approx(activations / 4)


@pytest.mark.parametrize(
    ("depth", "length", "again"), [(2, 64, "none"), (4, 8, "none"), (4, 32, "all")]
)
def test_memory_of_a_network_that_reads_texts_is_within_a_fifth(wider, depth, length, again):
    network = Network(4, 128, depth, 4, condition="text", position="rope", condition_size=64)
    recipe = dataclasses.replace(
        wider,
        network=network,
        text=TextConfig(length=length),
        timesteps="ltg:levels=4",
        recompute_activations=again,
        batch_size=4,
    )
    data = with_texts(recipe, CaptionedScenes(grey_things(), 32))
    result = estimate(recipe, data, 1e12)
    activations = result.memory_gib * 2**30 - 28 * result.parameters
    kept = kept_by_a_step(recipe, data)
    if again != "none":  # one block whole, besides: alive in the backward pass only
        once = dataclasses.replace(recipe, recompute_activations="none")
        kept += (kept_by_a_step(once, data) - kept) / depth
    assert activations == pytest.approx(kept, rel=0.2)


def kept_compiled(changes):
    return int(run_script("kept_activations", json.dumps(changes)))


@pytest.mark.slow
def test_compiled_what_tokens_take_of_few_rows_is_not_kept():
    one, several = (
        kept_compiled({"timesteps": timesteps}) for timesteps in ("shared-uniform", "ltg:levels=4")
    )
    assert several < 1.06 * one  # 1.17 if it is


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_compiled_the_outputs_of_gelu_are_kept_or_computed_again(precision):
    kept, again = (
        kept_compiled({"precision": precision, "recompute_activations": what})
        for what in ("none", "gelu")
    )
    outputs = 3 * 16 * 64 * 4 * 256  # blocks, images, tokens, four widths
    assert kept - again == _PRODUCTS[precision] * outputs


@pytest.mark.slow  # half a minute in the C++ compiler, each
@pytest.mark.parametrize("timesteps", ["ltg", "ltg:levels=4", "shared-uniform"])
# a CPU keeps fewer products in bf16 than a GPU, whose are meant
@pytest.mark.parametrize(
    ("again", "precision"),
    [("none", "fp32"), ("gelu", "fp32"), ("cheap", "fp32"), ("none", "bf16"), ("gelu", "bf16")],
)
def test_memory_of_a_compiled_step_is_what_it_keeps(wider, timesteps, again, precision):
    changes = {"timesteps": timesteps, "recompute_activations": again, "precision": precision}
    kept = kept_compiled(changes)
    recipe = dataclasses.replace(wider, **changes, compile=True)
    result = estimate(recipe, recipe.data.open(), 1e12)
    copies = 2 * result.parameters if precision == "bf16" else 0
    kept -= copies
    activations = result.memory_gib * 2**30 - 28 * result.parameters - copies
    # besides, what one block computes again, while its backward pass runs
    which = ["shared-uniform", "ltg:levels=4", "ltg"].index(timesteps)
    again_of_one = {"cheap": _KEPT[precision, True][which], "gelu": 4 * _PRODUCTS[precision]}
    activations -= again_of_one.get(again, 0) * 16 * 64 * 256
    assert activations == pytest.approx(kept, rel=0.2)


@pytest.mark.parametrize(
    ("optimizer", "every"),
    [
        ("adamw", None),
        pytest.param("adamw", 0, marks=pytest.mark.slow),
        pytest.param("muon", 2, marks=pytest.mark.slow),
    ],
)
def test_disk_is_what_checkpoints_and_snapshots_take(wider, optimizer, every, tmp_path):
    chosen = dataclasses.replace(wider.optimizer, name=optimizer)
    network = dataclasses.replace(wider.network, hidden_size=256)
    recipe = dataclasses.replace(
        wider, optimizer=chosen, network=network, batch_size=2, steps=3, snapshot_every=every
    )
    result = estimate(recipe, recipe.data.open(), 1e12)
    train("digits", recipe, tmp_path / "run", progress=False)

    def gib(folder):
        files = folder.rglob("*")
        return sum(file.stat().st_size for file in files if file.is_file()) / 2**30

    on_disk = gib(checkpoint_path(tmp_path / "run", 3))
    assert result.checkpoints_gib == pytest.approx(3 * on_disk, rel=0.02)
    assert result.snapshots_gib == pytest.approx(gib(tmp_path / "run" / SNAPSHOTS), rel=0.02)


def test_hours_are_those_of_the_operations_at_half_the_rate(wider):
    data, steps = wider.data.open(), 10**6
    result = estimate(dataclasses.replace(wider, steps=steps), data, 1e12)
    assert result.images == 16 * steps
    seconds = 3 * 1e9 * result.gflop_per_image * result.images / 0.5e12
    assert result.hours == pytest.approx(seconds / 3600)
    again = dataclasses.replace(wider, steps=steps, recompute_activations="all")
    assert estimate(again, data, 2e12).hours == pytest.approx(result.hours * 4 / 3 / 2)
