"""Runs with alignment: exact on resuming, alike on ranks and in parts, features cached or not."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import patch_forcing as pf
from patch_forcing.data.batch import Pictured, TensorData
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.emoji import EmojiSource
from patch_forcing.data.folders import FolderSource
from patch_forcing.distributed.ranks import Ranks
from patch_forcing.features.emoji import load_emoji_features
from patch_forcing.features.find import find_encoder
from patch_forcing.features.module_encoder import ModuleEncoder
from patch_forcing.io.run_layout import checkpoints
from patch_forcing.models.config import DataInfo
from patch_forcing.runs.alignment import cache_features, open_alignment, unit_features
from patch_forcing.runs.estimate import estimate
from patch_forcing.runs.recipes import RECIPES, aligned
from patch_forcing.runs.state import initial_state
from patch_forcing.runs.step import TrainStep
from patch_forcing.runs.trainer import train
from patch_forcing.training.alignment import AlignmentConfig
from tests.support.emoji_font import write_atlas
from tests.support.image_files import photos
from tests.support.same_runs import assert_same, losses, tensors
from tests.support.several_ranks import train_on


@pytest.fixture
def plain(recipe):
    """Two blocks, of which one is aligned."""
    return dataclasses.replace(recipe, network=dataclasses.replace(recipe.network, depth=2))


@pytest.fixture
def repa(plain):
    return dataclasses.replace(plain, alignment=AlignmentConfig("emoji", projector_dim=12))


def changed(recipe, **options):
    return dataclasses.replace(recipe, alignment=dataclasses.replace(recipe.alignment, **options))


def encoder_of(seed=0):
    torch.manual_seed(seed)
    module = torch.nn.Conv2d(3, 6, 2, stride=2)
    return ModuleEncoder(module, f"conv {seed}", patch=2)


class Flat:
    """A network of one vector an image: its mean colour."""

    name, size = "flat", None

    def features(self, images):
        return images.mean((2, 3))

    def to(self, device):
        return self


@pytest.mark.parametrize(
    ("optimizer", "timesteps"),
    [("adamw", "ltg"), ("adamw", "shared-uniform"), ("muon", "ltg:levels=4")],
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


@pytest.mark.parametrize("options", [{"accumulate": 4}, {"recompute_activations": "all"}])
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
    found = alignment.inputs(batch, 0)
    with torch.no_grad():  # 8×8 digits in patches of 4: a grid of 2×2, where it sees 4×4 pixels
        seen = torch.nn.functional.interpolate(batch.x_1, (4, 4), mode="bicubic", antialias=True)
        values = encoder.module(seen.expand(-1, 3, -1, -1)).flatten(2).mT
    torch.testing.assert_close(found, (values / values.norm(dim=-1, keepdim=True)).half())
    assert alignment.width == 6


def test_cached_features_are_those_made_on_the_fly(repa, tmp_path):
    cached = changed(repa, cache=str(tmp_path / "cache"))
    train("digits", cached, tmp_path / "cached", progress=False, encoder=encoder_of())
    train("digits", repa, tmp_path / "fly", progress=False, encoder=encoder_of())
    for (_, one), (_, other) in zip(
        losses(tmp_path / "cached"), losses(tmp_path / "fly"), strict=True
    ):
        assert one == pytest.approx(other, rel=1e-4)
    files = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "cache").iterdir()}
    assert files.keys() == {"features.json", "features.npy"}
    train("digits", cached, tmp_path / "again", progress=False, encoder=encoder_of())
    assert files == {file.name: file.stat().st_mtime_ns for file in (tmp_path / "cache").iterdir()}
    assert losses(tmp_path / "again") == losses(tmp_path / "cached")


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    """Of 23 images, one cannot be read."""
    root = photos(tmp_path_factory.mktemp("pets") / "pets", {"cat": 15, "owl": 8})
    (root / "cat/003.png").write_bytes(b"no image")
    return root


@pytest.mark.parametrize("flip", [True, False])
def test_mirrored_and_replaced_images_find_their_own_features(repa, pets, tmp_path, flip):
    source = FolderSource(flip=flip, path=str(pets), size=16, max_bad_share=1)
    recipe = dataclasses.replace(changed(repa, cache=str(tmp_path / "cache")), data=source)
    data, encoder = source.open(), encoder_of()
    assert isinstance(data, Pictured)
    cached = open_alignment(recipe, data, "cpu", Ranks(), encoder)
    assert np.load(tmp_path / "cache/features.npy").shape == (23 * (1 + flip), 16, 6)
    for step in (0, 1, 4, 7):
        batch = data.batch(BatchSpec(step, 8, 0))
        expected = unit_features(encoder, batch.x_1, (4, 4))
        torch.testing.assert_close(cached.inputs(batch, step), expected, atol=1e-3, rtol=0)
        # whatever was read before, and of a rank's share
        other = source.open()
        assert other.picture_numbers(BatchSpec(step, 8, 0)).equal(
            data.picture_numbers(BatchSpec(step, 8, 0))
        )
        half = other.picture_numbers(BatchSpec(step, 8, 0, range(4, 8)))
        assert half.equal(data.picture_numbers(BatchSpec(step, 8, 0))[4:])
    rows = np.load(tmp_path / "cache/features.npy")
    bad = data.layout.names.index("cat/003.png")
    lost = [bad, 23 + bad] if flip else [bad]
    assert np.flatnonzero(np.isnan(rows).any((1, 2))).tolist() == lost


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("encoder", "encoder 'conv 0', this run has 'conv 1'"),
        ("data", "data '"),
        ("grid", "rows 2, this run has 4"),
        ("flip", "data '"),
    ],
)
def test_a_cache_of_something_else_is_refused_in_one_line(repa, pets, tmp_path, what, said):
    def recipe(data=None, patch=4):
        network = dataclasses.replace(repa.network, patch_size=patch)
        cached = changed(repa, cache=str(tmp_path / "cache"))
        return dataclasses.replace(cached, network=network, data=data or repa.data)

    folder = FolderSource(path=str(pets), size=8)
    first, second, encoder = recipe(), recipe(), encoder_of(int(what == "encoder"))
    if what == "data":
        second = recipe(folder)
    if what == "grid":
        second = recipe(patch=2)
    if what == "flip":
        first, second = recipe(folder), recipe(dataclasses.replace(folder, flip=False))
    open_alignment(first, first.data.open(), "cpu", Ranks(), encoder_of())
    with pytest.raises(pf.UserError, match=said) as error:
        open_alignment(second, second.data.open(), "cpu", Ranks(), encoder)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "bytes_", "said"),
    [
        ("features.json", b"{", "features.json is missing or damaged"),
        ("features.json", b"[]", "features.json is missing or damaged"),
        ("features.npy", b"", "features.npy cannot be read"),
        ("features.npy", b"\x80\x04.", "features.npy cannot be read"),
    ],
)
def test_a_damaged_cache_is_refused(repa, tmp_path, name, bytes_, said):
    cached = changed(repa, cache=str(tmp_path / "cache"))
    data = repa.data.open()
    open_alignment(cached, data, "cpu", Ranks(), encoder_of())
    (tmp_path / "cache" / name).write_bytes(bytes_)
    with pytest.raises(pf.UserError, match=said):
        open_alignment(cached, data, "cpu", Ranks(), encoder_of())


def test_a_cut_cache_is_refused(repa, tmp_path):
    cached, file = changed(repa, cache=str(tmp_path / "cache")), tmp_path / "cache/features.npy"
    data = repa.data.open()
    open_alignment(cached, data, "cpu", Ranks(), encoder_of())
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(pf.UserError, match="cannot be read"):
        open_alignment(cached, data, "cpu", Ranks(), encoder_of())


def test_latents_are_aligned_with_features_of_their_images(repa, tmp_path):
    digits = repa.data.open()
    latents = torch.randn(len(digits.images), 4, 8, 8)

    class Source:
        def open(self):
            return TensorData(latents, digits.labels, 10, DataInfo())

    recipe = dataclasses.replace(repa, data=Source())
    with pytest.raises(pf.UserError, match=r"4 channels are latents.*--alignment\.cache"):
        open_alignment(recipe, Source().open(), "cpu", Ranks())
    folder, data = tmp_path / "cache", Source().open()
    cache_features(folder, encoder_of(), (2, 2), digits, identity=data.identity)
    found = open_alignment(changed(recipe, cache=str(folder)), data, "cpu", Ranks(), encoder_of())
    of_images = open_alignment(repa, digits, "cpu", Ranks(), encoder_of())
    expected = of_images.inputs(digits.batch(BatchSpec(2, 8, 0)), 2)
    assert found.inputs(data.batch(BatchSpec(2, 8, 0)), 2).equal(expected)


def test_features_that_are_not_finite_are_not_cached(repa, tmp_path):
    encoder = encoder_of()
    encoder.module.weight.fill_(torch.inf)
    cached = changed(repa, cache=str(tmp_path / "cache"))
    with pytest.raises(pf.UserError, match="not finite"):
        open_alignment(cached, repa.data.open(), "cpu", Ranks(), encoder)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_is_refused(plain, repa, tmp_path):
    data = repa.data.open()
    with pytest.raises(pf.UserError, match=r"alignment\.encoder is not: name it"):
        open_alignment(plain, data, "cpu", Ranks(), encoder_of())
    cached = changed(repa, cache=str(tmp_path / "cache"))
    with pytest.raises(pf.UserError, match="without torchrun first"):
        open_alignment(cached, data, "cpu", Ranks(0, 2))
    with pytest.raises(pf.UserError, match=r"depth=3: the network has 2 blocks"):
        changed(repa, depth=3)
    with pytest.raises(pf.UserError, match=r"flat gives one vector an image"):
        open_alignment(repa, data, "cpu", Ranks(), Flat())
    assert list(tmp_path.iterdir()) == []


def test_endless_data_have_no_cache(repa, tmp_path):
    atlas = write_atlas(tmp_path / "atlas")
    recipe = dataclasses.replace(changed(repa, cache="cache"), data=EmojiSource(str(atlas)))
    with pytest.raises(pf.UserError, match="these data have no end, and no cache"):
        open_alignment(recipe, recipe.data.open(), "cpu", Ranks(), encoder_of())


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


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("dinov2-x", "unknown encoder 'dinov2-x': did you mean 'dinov2-"),
        ("emojis", "did you mean 'emoji'"),
        ("~nobody-of-that-name/x", "there is no such user"),
    ],
)
def test_a_mistyped_encoder_is_told_the_nearest(name, said):
    with pytest.raises(pf.UserError, match=said):
        find_encoder(name)


def test_estimates_know_the_projector(plain, repa):
    data = plain.data.open()
    without, found = estimate(plain, data, 1e12), estimate(repa, data, 1e12)
    state = initial_state(repa, data, "cpu", [open_alignment(repa, data, "cpu", Ranks())])
    projector = state.term_modules()["projector"]
    count = sum(weight.numel() for weight in projector.parameters())
    assert count == 16 * 12 + 12 + 12 * 12 + 12 + 12 * 144 + 144
    assert (found.projector_parameters, without.projector_parameters) == (count, 0)
    assert found.parameters == without.parameters
    more = (found.checkpoints_gib - without.checkpoints_gib) * 2**30
    assert more == pytest.approx(3 * 12 * count)
    assert found.gflop_per_image - without.gflop_per_image == pytest.approx(2e-9 * count * 4)


def test_recipes_with_alignment_are_those_without_and_an_encoder():
    found = RECIPES["emoji-64-repa"].recipe
    assert found.alignment == AlignmentConfig("emoji", weight=0.02)
    assert dataclasses.replace(found, alignment=AlignmentConfig()) == RECIPES["emoji-64"].recipe
    mine = aligned(RECIPES["folder"], "dinov2-b", "the encoder")
    assert mine.recipe.alignment.encoder == "dinov2-b"
    assert mine.needs.endswith("; the encoder")


def test_the_bundled_encoder_sees_a_map_whose_mean_is_the_feature():
    encoder = find_encoder("emoji")
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    values, grid = encoder.feature_map(images, (8, 8))
    assert grid == (4, 4)
    features = load_emoji_features()
    pooled = features.network(images) - features.reference.mean.float()
    torch.testing.assert_close(values.mean(1), pooled, atol=1e-5, rtol=1e-5)
