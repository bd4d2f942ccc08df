"""Self-Flow's per-token SiT: its velocities at any times, in our direction of time."""

import pytest
import torch

import patch_forcing as pf
from patch_forcing.models.latent_space import STABLE_DIFFUSION
from patch_forcing.models.published import from_published
from patch_forcing.models.reversed_time import in_our_time
from patch_forcing.runs.convert import import_checkpoint
from tests.support import published
from tests.support.exact import tiny_dit
from tests.support.self_flow import random_self_flow

HEADS = 4


def converted(tmp_path, state, kind="self-flow", **options) -> pf.PatchDiT:
    torch.save(state, tmp_path / "theirs.pt")
    import_checkpoint(tmp_path / "theirs.pt", tmp_path / "ours", kind, HEADS, **options)
    return pf.load_model(tmp_path / "ours")


def noise_levels(kind: str) -> torch.Tensor:
    """(2, 16), as Self-Flow has them: 1 is noise."""
    if kind == "uniform":
        return torch.tensor([0.3, 0.95])[:, None].expand(2, 16)
    if kind == "two levels":
        return torch.where(torch.rand(2, 16) < 0.4, 0.2, torch.tensor([[0.7], [1.0]]))
    return torch.rand(2, 16)


@pytest.mark.parametrize("times", ["uniform", "two levels", "one for each token"])
@pytest.mark.parametrize("outputs", [4, 8])
@torch.no_grad()
def test_velocities_are_those_of_the_published_description(tmp_path, times, outputs):
    theirs = random_self_flow(outputs=outputs)
    ours = converted(tmp_path, theirs.state_dict())
    x, y, tau = torch.randn(2, 4, 8, 8), torch.tensor([3, 10]), noise_levels(times)
    output = ours(x, 1 - tau, y)
    torch.testing.assert_close(output.velocity, -theirs(x, tau, y), rtol=1e-5, atol=1e-5)
    assert output.logvar is None
    assert ours.data_info.autoencoder == STABLE_DIFFUSION


@torch.no_grad()
def test_samples_are_those_of_its_own_loop(tmp_path):
    theirs = random_self_flow()
    ours, y = converted(tmp_path, theirs.state_dict()), torch.tensor([1, 2])
    x = noise = torch.randn(2, 4, 8, 8)
    for step in range(4):
        x = x - theirs(x, torch.full((2, 16), 1 - step / 4), y) / 4
    result = pf.samplers.EulerSampler()(pf.VelocityField(ours, y), noise, [0, 0.25, 0.5, 0.75, 1.0])
    torch.testing.assert_close(result.x_1, x, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_the_direction_of_time_can_be_given(tmp_path):
    theirs, x, y = random_self_flow(), torch.randn(2, 4, 8, 8), torch.tensor([3, 10])
    t = torch.rand(2, 16)
    as_data = converted(tmp_path, theirs.state_dict(), time="data")
    torch.testing.assert_close(as_data(x, t, y).velocity, theirs(x, t, y), rtol=1e-5, atol=1e-5)
    sit = converted(tmp_path, theirs.state_dict(), "sit", time="noise")  # as REPA's are
    torch.testing.assert_close(sit(x, t, y).velocity, -theirs(x, 1 - t, y), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_time_turned_twice_is_as_it_was_and_difficulty_keeps_its_sign():
    model, turned = tiny_dit(), tiny_dit(seed=1)
    turned.load_state_dict(in_our_time(model.state_dict(), model.config))
    x, t, y = torch.randn(2, 3, 8, 8), torch.rand(2, 16), torch.tensor([0, 5])
    one, other = model(x, t, y), turned(x, 1 - t, y)
    torch.testing.assert_close(other.velocity, -one.velocity, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(other.logvar, one.logvar, rtol=1e-5, atol=1e-5)
    again = in_our_time(turned.state_dict(), model.config)
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(again[name], weight, rtol=1e-6, atol=1e-6)


def test_heads_of_its_training_are_left_aside_and_named(tmp_path):
    state = {**random_self_flow().state_dict(), "projector.0.weight": torch.ones(3, 32)}
    torch.save(state, tmp_path / "x.pt")
    _, chosen = import_checkpoint(tmp_path / "x.pt", tmp_path / "ours", "self-flow", HEADS)
    assert "left aside: projector" in chosen.summary


@pytest.mark.parametrize(
    ("sizes", "changes", "options", "message"),
    [
        ({}, {}, {"kind": None}, "add --kind sit or --kind self-flow"),
        ({"outputs": 4}, {}, {"kind": None}, "add --kind sit or --kind self-flow"),
        ({"outputs": 5}, {}, {}, "20 rows, which are not 2·2 patches of C or 2·C channels"),
        ({"channels": 16, "outputs": 32}, {}, {}, "a Self-Flow of 16 channels makes latents"),
        ({}, {"x_embedder.proj.weight": torch.ones(32, 16)}, {}, "x_embedder or y_embedder is of"),
        ({}, {"pos_embed": torch.zeros(1, 16, 32)}, {}, "not the fixed sine"),
        ({}, {"t_embedder.scale": torch.ones(1)}, {}, "unknown tensor 't_embedder.scale'"),
        ({}, {}, {"kind": "dit", "time": "noise"}, "times are numbered: leave it out"),
    ],
)
def test_what_is_not_known_is_refused(sizes, changes, options, message):
    state = random_self_flow(**sizes).state_dict() | changes
    with pytest.raises(pf.UserError, match=message):
        from_published(state, **{"kind": "self-flow", "num_heads": HEADS, **options})


def test_the_size_of_the_released_model_needs_no_number_of_heads():
    with torch.device("meta"):
        names = random_self_flow(width=1152, depth=28, grid=2).state_dict()
    assert names["blocks.27.attn.qkv.weight"].shape == (3 * 1152, 1152)
    state = published.random_state(width=384, depth=12, grid=2, outputs=8)
    assert from_published(state, "self-flow").sizes["num_heads"] == 6
