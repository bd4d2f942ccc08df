"""Runs with alignment: exact on resuming, alike on ranks and in parts; what cannot be."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file

import patch_forcing as pf
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.distributed.ranks import Ranks
from patch_forcing.io.run_layout import checkpoints
from patch_forcing.runs.alignment import open_alignment
from patch_forcing.runs.estimate import estimate
from patch_forcing.runs.named_recipe import aligned
from patch_forcing.runs.recipes import RECIPES
from patch_forcing.runs.state import initial_state
from patch_forcing.runs.step import TrainStep
from patch_forcing.runs.trainer import train
from patch_forcing.training.options import AlignmentConfig
from tests.support.feature_networks import MeanColour, changed, encoder_of
from tests.support.same_runs import assert_same, losses, tensors
from tests.support.several_ranks import train_on


@pytest.mark.parametrize(
    ("optimizer", "timesteps"),
    [
        ("adamw", "ltg"),
        pytest.param("adamw", "shared-uniform", marks=pytest.mark.slow),
        ("muon", "ltg:levels=4"),
    ],
)
def test_a_resumed_run_is_bitwise_the_run_that_never_stopped(repa, tmp_path, optimizer, timesteps):
    optimizer = dataclasses.replace(repa.optimizer, name=optimizer)
    repa = dataclasses.replace(repa, optimizer=optimizer, timesteps=timesteps)
    whole = train("digits", repa, tmp_path / "whole", progress=False, encoder=encoder_of())
    train(
        "digits",
        dataclasses.replace(repa, steps=3),
        tmp_path / "parts",
        progress=False,
        encoder=encoder_of(),
    )
    parts = train("digits", repa, tmp_path / "parts", progress=False, encoder=encoder_of())
    assert parts.steps_before == 3
    assert_same(whole.checkpoint, parts.checkpoint)
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")


def test_the_projector_is_trained_and_kept_apart_from_what_is_sampled(plain, repa, tmp_path):
    outcome = train("digits", repa, tmp_path / "repa", progress=False, encoder=encoder_of())
    other = train("digits", plain, tmp_path / "plain", progress=False)
    ours, theirs = tensors(outcome.checkpoint), tensors(other.checkpoint)
    for part in ("model/", "ema/"):
        assert {n for n in ours if n.startswith(part)} == {n for n in theirs if n.startswith(part)}
    files = sorted(file.name for file in (outcome.checkpoint / "ema").iterdir())
    assert files == ["config.json", "model.safetensors"]
    data = repa.data.open()
    alignment = open_alignment(repa, data, "cpu", Ranks(), encoder_of())
    start = initial_state(repa, data, "cpu", [alignment]).term_modules()["projector"].state_dict()
    trained = load_file(outcome.checkpoint / "projector.safetensors")
    assert {name: w.shape for name, w in start.items()} == {n: w.shape for n, w in trained.items()}
    assert all(not start[name].equal(trained[name]) for name in start)
    rows = [json.loads(line) for line in (tmp_path / "repa/metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["alignment"] < rows[0]["alignment"] - 0.1
    for row in rows:
        expected = row["velocity"] + 0.01 * row["nll"] + 0.5 * row["alignment"]
        assert row["total"] == pytest.approx(expected, rel=1e-5)
    assert "alignment" not in (tmp_path / "plain/metrics.jsonl").read_text()
    assert pf.load_model(tmp_path / "repa/checkpoints/step-00000006/ema")


def test_the_first_weights_and_draws_are_those_of_the_run_without(plain, repa):
    data = repa.data.open()
    alignment = open_alignment(repa, data, "cpu", Ranks(), encoder_of())
    ours, theirs = initial_state(repa, data, "cpu", [alignment]), initial_state(plain, data, "cpu")
    for one, other in zip(ours.model.parameters(), theirs.model.parameters(), strict=True):
        assert one.equal(other)
    batch = data.batch(BatchSpec(0, 8, 0))
    inputs = TrainStep(ours, repa, "cpu", terms=[alignment]).inputs(batch, 0)
    without = TrainStep(theirs, plain, "cpu").inputs(batch, 0)
    assert inputs.x_0.equal(without.x_0)
    assert inputs.t_values.equal(without.t_values)
    assert without.terms == ()
    (features,) = inputs.terms
    assert (features.shape, features.dtype) == ((8, 4, 6), torch.float16)


@pytest.mark.parametrize(
    "options",
    [{"accumulate": 4}, pytest.param({"recompute_activations": "all"}, marks=pytest.mark.slow)],
)
def test_parts_and_recomputed_activations_are_the_same_step(repa, tmp_path, options):
    whole = train("digits", repa, tmp_path / "whole", progress=False, encoder=encoder_of())
    again = dataclasses.replace(repa, **options)
    parts = train("digits", again, tmp_path / "parts", progress=False, encoder=encoder_of())
    ours, theirs = tensors(whole.checkpoint), tensors(parts.checkpoint)
    for name in ours:
        if "optimizer" not in name:
            torch.testing.assert_close(ours[name], theirs[name], rtol=1e-3, atol=1e-4)
    for (_, one), (_, other) in zip(
        losses(tmp_path / "whole"), losses(tmp_path / "parts"), strict=True
    ):
        assert one == pytest.approx(other, rel=1e-5)


@pytest.mark.slow
def test_two_ranks_train_the_run_of_one(repa, tmp_path):
    repa = dataclasses.replace(repa, steps=3)
    assert train_on(1, repa, tmp_path / "one") == [(0, "")]
    assert train_on(2, repa, tmp_path / "two") == [(0, ""), (0, "")]
    for (_, one), (_, other) in zip(
        losses(tmp_path / "one"), losses(tmp_path / "two"), strict=True
    ):
        assert one == pytest.approx(other, rel=1e-5)
    files = [checkpoints(tmp_path / name)[-1] / "projector.safetensors" for name in ("one", "two")]
    one, two = map(load_file, files)
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-3, atol=1e-5)


def test_features_are_of_the_encoder_on_the_grid_of_length_one(repa):
    data = repa.data.open()
    encoder = encoder_of()
    alignment = open_alignment(repa, data, "cpu", Ranks(), encoder)
    batch = data.batch(BatchSpec(0, 8, 0))
    result = alignment.inputs(batch, 0)
    with torch.no_grad():  # 8×8 digits in patches of 4: a grid of 2×2, where it sees 4×4 pixels
        seen = torch.nn.functional.interpolate(batch.x_1, (4, 4), mode="bicubic", antialias=True)
        values = encoder.module(seen.expand(-1, 3, -1, -1)).flatten(2).mT
    torch.testing.assert_close(result, (values / values.norm(dim=-1, keepdim=True)).half())
    assert alignment.width == 6


def test_what_cannot_be_is_refused(plain, repa, tmp_path):
    data = repa.data.open()
    with pytest.raises(pf.UserError, match=r"alignment\.encoder is not: name it"):
        open_alignment(plain, data, "cpu", Ranks(), encoder_of())
    cached = changed(repa, cache=str(tmp_path / "cache"))
    with pytest.raises(pf.UserError, match="without torchrun first"):
        open_alignment(cached, data, "cpu", Ranks(0, 2))
    with pytest.raises(pf.UserError, match=r"depth=3: the network has 2 blocks"):
        changed(repa, depth=3)
    with pytest.raises(pf.UserError, match=r"mean colour gives one vector an image"):
        open_alignment(repa, data, "cpu", Ranks(), MeanColour())
    assert list(tmp_path.iterdir()) == []


def test_a_run_goes_on_with_its_own_encoder_only(repa, tmp_path):
    train("digits", dataclasses.replace(repa, steps=2), tmp_path / "run", encoder=encoder_of(0))
    with pytest.raises(pf.UserError, match=r"encoder was 'conv 0', now it is 'conv 1'"):
        train("digits", repa, tmp_path / "run", encoder=encoder_of(1))
    with pytest.raises(pf.UserError, match=r"alignment\.weight=0\.5, now it is 1\.0"):
        train("digits", changed(repa, weight=1.0), tmp_path / "run", encoder=encoder_of(0))
    assert train("digits", repa, tmp_path / "run", encoder=encoder_of(0)).steps == 6


def test_a_checkpoint_without_its_projector_is_refused(repa, tmp_path):
    outcome = train("digits", repa, tmp_path / "run", progress=False, encoder=encoder_of())
    (outcome.checkpoint / "projector.safetensors").unlink()
    again = train(
        "digits",
        dataclasses.replace(repa, steps=8),
        tmp_path / "run",
        progress=False,
        encoder=encoder_of(),
    )
    assert again.steps_before == 4  # of the checkpoint before, with a warning


def test_estimates_know_the_projector(plain, repa):
    data = plain.data.open()
    without, result = estimate(plain, data, 1e12), estimate(repa, data, 1e12)
    state = initial_state(repa, data, "cpu", [open_alignment(repa, data, "cpu", Ranks())])
    projector = state.term_modules()["projector"]
    count = sum(weight.numel() for weight in projector.parameters())
    assert count == 16 * 12 + 12 + 12 * 12 + 12 + 12 * 144 + 144
    assert (result.projector_parameters, without.projector_parameters) == (count, 0)
    assert result.parameters == without.parameters
    more = (result.checkpoints_gib - without.checkpoints_gib) * 2**30
    assert more == pytest.approx(3 * 12 * count)
    assert result.gflop_per_image - without.gflop_per_image == pytest.approx(2e-9 * count * 4)


def test_recipes_with_alignment_are_those_without_and_an_encoder():
    result = RECIPES["emoji-64-repa"].recipe
    assert result.alignment == AlignmentConfig("emoji", weight=0.02)
    assert dataclasses.replace(result, alignment=AlignmentConfig()) == RECIPES["emoji-64"].recipe
    mine = aligned(RECIPES["folder"], "dinov2-b", "the encoder")
    assert mine.recipe.alignment.encoder == "dinov2-b"
    assert mine.needs.endswith("; the encoder")
