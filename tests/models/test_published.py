"""Published checkpoints: the same velocities and trajectories, the same bits on the way back."""

import pickle
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import patch_forcing as pf
from patch_forcing.core.registry import build
from patch_forcing.io.safe_pickle import read_pickle
from patch_forcing.io.torch_file import _call
from patch_forcing.models.folder import DIT, read_folder
from patch_forcing.models.imagenet import imagenet_classes
from patch_forcing.models.latent_space import STABLE_DIFFUSION
from patch_forcing.models.published import from_published, to_published
from patch_forcing.runs.convert import export_checkpoint, import_checkpoint
from patch_forcing.sampling.compat import as_published
from patch_forcing.sampling.grids import uniform_grid
from tests.support import published
from tests.support.exact import tiny_dit

HEADS = 4
CONFIG = {"target": "os.system", "params": {"num_heads": HEADS}}


def converted(tmp_path, state, **options) -> pf.PatchDiT:
    torch.save({"config": CONFIG, "state_dict": OrderedDict(state)}, tmp_path / "theirs.pt")
    import_checkpoint(tmp_path / "theirs.pt", tmp_path / "ours", **options)
    return pf.load_model(tmp_path / "ours")


@settings(max_examples=8)
@given(
    side=st.sampled_from([1, 2, 4]),
    channels=st.integers(1, 4),
    grid=st.integers(1, 5),
    depth=st.integers(1, 3),
    classes=st.integers(0, 5),
    seed=st.integers(0, 99),
)
def test_pft_weights_give_the_velocities_of_a_plain_network(
    tmp_path_factory, side, channels, grid, depth, classes, seed
):
    sizes = {"side": side, "channels": channels, "grid": grid, "depth": depth, "classes": classes}
    state = published.random_state(**sizes, seed=seed)
    model = converted(tmp_path_factory.mktemp("m"), state, kind="pft")
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(2, channels, side * grid, side * grid, generator=random)
    t, y = torch.rand(2, grid * grid, generator=random), torch.tensor([classes, 0])
    expected = published.forward(state, x, t, y, HEADS)
    output = model(x, t, y)
    torch.testing.assert_close(output.velocity, expected[:, :-1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(output.logvar, expected[:, -1:], rtol=1e-5, atol=1e-5)


def test_sit_weights_give_the_first_half_of_the_channels(tmp_path):
    state = published.random_state(outputs=8)
    model = converted(tmp_path, state, kind="sit")
    x, y = torch.randn(2, 4, 8, 8), torch.tensor([3, 10])
    t = torch.tensor([0.2, 0.9])
    expected = published.forward(state, x, t[:, None].expand(2, 16), y, HEADS)[:, :4]
    output = model(x, t, y)
    torch.testing.assert_close(output.velocity, expected, rtol=1e-5, atol=1e-5)
    assert output.logvar is None


@pytest.mark.parametrize("scale", [1.0, 2.5])
@pytest.mark.parametrize(
    ("sampler", "loop"),
    [
        ("euler", published.euler),
        ("dual-loop", published.dual_loop),
        ("look-ahead", published.look_ahead),
    ],
)
def test_compat_follows_the_published_loops(tmp_path, sampler, loop, scale):
    state = published.random_state(depth=2)
    model, labels, x_0 = converted(tmp_path, state), torch.tensor([3, 7]), torch.randn(2, 4, 8, 8)
    guidance = None if scale == 1 else pf.ClassifierFreeGuidance(scale)
    solver, guidance = as_published(build("sampler", pf.samplers.SAMPLERS, sampler), guidance)
    result = solver(pf.VelocityField(model, labels, guidance), x_0, uniform_grid(5))
    expected = loop(published.Guided(state, labels, HEADS, scale), x_0, 5)
    torch.testing.assert_close(result.x_1, expected, rtol=1e-5, atol=1e-5)


def test_ours_differs_from_the_published_look_ahead_under_guidance_only(tmp_path):
    state = published.random_state()
    model, labels, x_0 = converted(tmp_path, state), torch.tensor([3, 7]), torch.randn(2, 4, 8, 8)
    grid = [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    for scale, same in ((1.0, True), (2.5, False)):
        guidance = None if scale == 1 else pf.ClassifierFreeGuidance(scale)
        field = pf.VelocityField(model, labels, guidance)
        ours = pf.samplers.LookAheadSampler()(field, x_0, grid).x_1
        theirs = published.look_ahead(published.Guided(state, labels, HEADS, scale), x_0, 5)
        assert torch.allclose(ours, theirs, atol=1e-5, rtol=1e-5) is same


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("difficulty", [True, False])
def test_there_and_back_every_bit_is_the_same(tmp_path, suffix, difficulty):
    model = tiny_dit(in_channels=4, predict_difficulty=difficulty)
    model.save(tmp_path / "a")
    export_checkpoint(tmp_path / "a", tmp_path / f"b{suffix}")
    kind = "pft" if difficulty else "sit"
    import_checkpoint(tmp_path / f"b{suffix}", tmp_path / "c", kind, 4)
    back = pf.load_model(tmp_path / "c")
    # a pair of one number is a square
    assert replace(back.config, input_size=back.config.image_size) == replace(
        model.config, input_size=model.config.image_size
    )
    assert all(back.state_dict()[name].equal(w) for name, w in model.state_dict().items())


def test_what_is_exported_is_what_a_plain_network_reads():
    model = tiny_dit(in_channels=4)
    state = to_published(model)["state_dict"]
    x, t, y = torch.randn(2, 4, 8, 8), torch.rand(2, 16), torch.tensor([0, 5])
    expected = published.forward(state, x, t, y, model.config.num_heads)
    torch.testing.assert_close(model(x, t, y).velocity, expected[:, :-1], rtol=1e-5, atol=1e-5)


def test_a_dit_is_converted_but_not_loaded(tmp_path):
    torch.save(published.random_state(outputs=8), tmp_path / "dit.pt")
    import_checkpoint(tmp_path / "dit.pt", tmp_path / "dit", "dit", 4)
    assert read_folder(tmp_path / "dit").class_name == DIT
    with pytest.raises(pf.UserError, match="predicts the noise of another path: train from it"):
        pf.load_model(tmp_path / "dit")


def test_known_sizes_need_no_number_of_heads():
    state = published.random_state(width=384, depth=12, grid=2)
    assert from_published(state).sizes["num_heads"] == 6


def test_a_thousand_classes_are_those_of_imagenet_in_latents(tmp_path):
    model = converted(tmp_path, published.random_state(classes=1000))
    assert model.data_info.class_names[207] == "golden retriever"
    assert model.data_info.latent_scale == 0.18215
    assert model.data_info.autoencoder == STABLE_DIFFUSION
    assert len(set(imagenet_classes())) == 1000
    assert (imagenet_classes()[0], imagenet_classes()[999]) == ("tench", "toilet tissue")


def broken(**changes):
    return {k: v for k, v in (published.random_state() | changes).items() if v is not None}


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (broken(pos_embed=None), {}, "lacks the tensor 'pos_embed'"),
        (broken(**{"blocks.1.attn.qkv.bias": None}), {}, "lacks the tensor 'blocks.1.attn.qkv.b"),
        (broken(**{"blocks.1.attn.qkw.bias": torch.ones(1)}), {}, "did you mean 'blocks.1.attn.q"),
        (broken(**{"blocks.0.mlp.fc1.bias": torch.ones(1)}), {}, "'blocks.0.mlp.fc1.bias' has sh"),
        (broken(**{"blocks.0.mlp.fc1.bias": torch.full((128,), torch.nan)}), {}, "holds NaN"),
        (broken(**{"final_layer.linear.weight": torch.ones(7, 32)}), {}, "of no known shape"),
        (broken(pos_embed=torch.zeros(1, 16, 32)), {}, "not the fixed sine"),
        (broken(pos_embed=torch.zeros(1, 15, 32)), {}, "15 patches, not those of a square"),
        (broken(), {"num_heads": None}, "how many heads"),
        (broken(), {"num_heads": 5}, "not divisible by num_heads=5"),
        (broken(), {"kind": "sit"}, "20 rows, which are not"),
        (published.random_state(outputs=8), {}, "add --kind sit"),
        (published.random_state(outputs=8), {"kind": "pft"}, "32 rows, which are not"),
        ({"state_dict": {"w": 3}}, {}, "lacks the tensor 'x_embedder.proj.weight'"),
        ([1, 2], {}, "holds no dict"),
        ({}, {}, "lacks the tensor 'x_embedder.proj.weight'"),
        ({"config": CONFIG, "state_dict": broken()}, {"num_heads": 8}, "config says 4"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_and_nothing_is_written(tmp_path, content, options, message):
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(pf.UserError, match="x") as error:
        import_checkpoint(tmp_path / "x.pt", tmp_path / "out", **{"num_heads": 4, **options})
    assert message in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["x.pt"]


def test_a_config_of_omegaconf_tells_the_heads():
    stored = Path(__file__).parents[1] / "io/omegaconf.pkl"
    config = read_pickle(stored.read_bytes(), call=_call, persistent=lambda _: None)
    model = from_published(published.random_state(), config=config)
    assert model.sizes["num_heads"] == 8
    assert pickle.dumps(config)  # plain
