"""PatchDiT: it is SiT where times agree, exact where they are shared, and zero when new."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

import patch_forcing as pf
from tests.support.exact import all_channels, inputs, tiny_dit

SIZES = [
    {"input_size": 8, "patch_size": 2, "in_channels": 3},
    {"input_size": (4, 12), "patch_size": 4, "in_channels": 4},
    {"input_size": (6, 4), "patch_size": 1, "in_channels": 1},
    {"input_size": (8, 16), "patch_size": 8, "in_channels": 2, "predict_difficulty": False},
]


def sit(model: pf.PatchDiT, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
    """SiT (Ma et al. 2024) as a function of a state dict: one condition (B, D) per image."""
    w, config = model.state_dict(), model.config
    p, d, (height, width) = config.patch_size, config.hidden_size, config.image_size
    rows, cols = height // p, width // p

    def linear(name: str, x: Tensor) -> Tensor:
        return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    def normed(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        return F.layer_norm(x, (d,), eps=1e-6) * (1 + scale[:, None]) + shift[:, None]

    omega = 10_000.0 ** (-np.arange(d // 4) / (d / 4))
    row, col = np.divmod(np.arange(rows * cols), cols)
    angles = [np.outer(axis, omega) for axis in (col, row)]
    places = np.concatenate([f(angle) for angle in angles for f in (np.sin, np.cos)], axis=1)
    tokens = F.conv2d(x, w["x_embedder.proj.weight"], w["x_embedder.proj.bias"], stride=p)
    tokens = tokens.flatten(2).transpose(1, 2) + torch.from_numpy(places).float()

    angle = t[:, None] * torch.exp(-math.log(10_000) * torch.arange(128) / 128)
    features = torch.cat([angle.cos(), angle.sin()], dim=1)
    c = linear("t_embedder.mlp.2", F.silu(linear("t_embedder.mlp.0", features)))
    c = F.silu(c + w["y_embedder.embedding_table.weight"][labels])

    for i in range(config.depth):
        block = f"blocks.{i}"
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = linear(
            f"{block}.adaLN_modulation.1", c
        ).chunk(6, dim=1)
        qkv = linear(f"{block}.attn.qkv", normed(tokens, shift_a, scale_a))
        qkv = qkv.view(len(x), rows * cols, 3, config.num_heads, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(*qkv).transpose(1, 2).flatten(2)
        tokens = tokens + gate_a[:, None] * linear(f"{block}.attn.proj", attended)
        hidden = linear(f"{block}.mlp.fc1", normed(tokens, shift_m, scale_m))
        hidden = linear(f"{block}.mlp.fc2", F.gelu(hidden, approximate="tanh"))
        tokens = tokens + gate_m[:, None] * hidden

    shift, scale = linear("final_layer.adaLN_modulation.1", c).chunk(2, dim=1)
    tokens = linear("final_layer.linear", normed(tokens, shift, scale))
    pixels = tokens.view(len(x), rows, cols, p, p, -1).permute(0, 5, 1, 3, 2, 4)
    return pixels.reshape(len(x), -1, height, width)


@pytest.mark.parametrize("sizes", SIZES)
def test_with_one_time_for_all_patches_the_network_is_sit_bit_for_bit(sizes):
    model = tiny_dit(**sizes)
    (x, labels), t = inputs(model), torch.tensor([0.0, 0.37, 1.0])
    expected = sit(model, x, t, labels)
    assert expected.std() > 0.1
    for time in (t, pf.PatchTime.shared(t, model.config.num_patches)):
        assert all_channels(model(x, time, labels)).equal(expected)


@pytest.mark.parametrize("sizes", SIZES)
def test_with_equal_dense_times_the_network_is_sit(sizes):
    model = tiny_dit(**sizes)
    (x, labels), t = inputs(model), torch.tensor([0.0, 0.37, 1.0])
    expected = sit(model, x, t, labels)
    dense = t[:, None].repeat(1, model.config.num_patches)
    for time in (dense, pf.PatchTime.dense(dense)):
        error = (all_channels(model(x, time, labels)) - expected).abs().max()
        assert error <= 1e-6 * expected.abs().max()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("levels", [1, 2, 5, 16])
@given(seed=st.integers(0, 2**31))
def test_shared_times_are_exact(levels, dtype, tolerance, seed):
    random = torch.Generator().manual_seed(seed)
    model = tiny_dit(seed=seed).to(dtype)
    x = torch.randn(2, 3, 8, 8, generator=random, dtype=dtype)
    labels = torch.tensor([1, 5])
    time = pf.PatchTime(
        torch.rand(2, levels, generator=random),
        torch.randint(levels, (2, 16), generator=random),
    )
    expected = all_channels(model(x, time.to_dense(), labels))
    error = (all_channels(model(x, time, labels)) - expected).abs().max()
    assert error <= tolerance * expected.abs().max()


def test_a_patch_time_moves_other_patches_only_through_attention():
    model = tiny_dit()
    for block in model.blocks:
        torch.nn.init.zeros_(block.attn.proj.weight)
    x, labels = inputs(model)
    t = torch.rand(3, 16)
    moved = t.clone()
    moved[:, 5] += 0.1  # row 1, column 1 of the grid
    changed = (all_channels(model(x, t, labels)) != all_channels(model(x, moved, labels))).any(
        dim=1
    )
    assert changed[:, 2:4, 2:4].all()
    assert changed.sum() == 3 * 4


def test_a_new_network_gives_exactly_zero():
    model = pf.PatchDiT(pf.PatchDiTConfig(8, hidden_size=32, depth=2, num_heads=4, num_classes=5))
    x = torch.randn(2, 4, 8, 8)
    output = model(x, torch.rand(2, 16), torch.tensor([0, 4]))
    assert output.velocity.equal(torch.zeros(2, 4, 8, 8))
    assert output.logvar.equal(torch.zeros(2, 1, 8, 8))


def test_initial_weights_have_their_distributions():
    model = pf.PatchDiT(pf.PatchDiTConfig(8, hidden_size=128, depth=1, num_heads=4))
    zero = ("adaLN_modulation.1.weight", "final_layer.linear.weight")
    small = ("t_embedder.mlp.0.weight", "t_embedder.mlp.2.weight", "embedding_table.weight")
    for name, weight in model.named_parameters():
        if name.endswith(("bias", *zero)):
            assert not weight.any(), name
        elif name.endswith(small):
            assert weight.std().item() == pytest.approx(0.02, rel=0.03), name
            assert abs(weight.mean().item()) < 5 * 0.02 / weight.numel() ** 0.5, name
        else:
            bound = math.sqrt(6 / (weight.shape[0] + weight[0].numel()))
            assert weight.abs().max() <= bound, name
            assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.03), name


def test_state_dict_has_the_published_names_and_shapes():
    model = tiny_dit(8, patch_size=2, in_channels=3, num_classes=5, depth=2)
    d = 32
    shapes = {
        "x_embedder.proj.weight": (d, 3, 2, 2),
        "x_embedder.proj.bias": (d,),
        "y_embedder.embedding_table.weight": (6, d),
    }
    linears = {
        "t_embedder.mlp.0": (d, 256),
        "t_embedder.mlp.2": (d, d),
        "final_layer.linear": (4 * 4, d),
        "final_layer.adaLN_modulation.1": (2 * d, d),
    }
    for i in range(2):
        linears |= {
            f"blocks.{i}.attn.qkv": (3 * d, d),
            f"blocks.{i}.attn.proj": (d, d),
            f"blocks.{i}.mlp.fc1": (4 * d, d),
            f"blocks.{i}.mlp.fc2": (d, 4 * d),
            f"blocks.{i}.adaLN_modulation.1": (6 * d, d),
        }
    for name, shape in linears.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    assert {name: tuple(value.shape) for name, value in model.state_dict().items()} == shapes


@pytest.mark.parametrize("patch_size", [1, 2, 4])
def test_last_layer_rows_are_ordered_patch_row_patch_column_channel(patch_size):
    model = tiny_dit((8, 4), patch_size=patch_size, in_channels=2)
    torch.nn.init.zeros_(model.final_layer.linear.weight)
    rows = torch.arange(patch_size**2 * 3, dtype=torch.float32)
    model.final_layer.linear.bias.data.copy_(rows)
    output = all_channels(model(torch.randn(1, 2, 8, 4), torch.rand(1), None))
    for channel in range(3):
        for y in range(8):
            for x in range(4):
                row, column = y % patch_size, x % patch_size
                assert output[0, channel, y, x] == (row * patch_size + column) * 3 + channel


def test_without_difficulty_there_is_no_logvar_and_one_channel_less():
    model = tiny_dit(predict_difficulty=False)
    output = model(torch.randn(2, 3, 8, 8), torch.rand(2, 16), None)
    assert (output.velocity.shape, output.logvar) == ((2, 3, 8, 8), None)
    assert model.final_layer.linear.out_features == 2**2 * 3


@pytest.mark.parametrize("time", [torch.tensor([0.2, 0.9]), torch.rand(2, 16)])
def test_weights_in_bf16_take_and_give_fp32(time):
    model = tiny_dit()
    x = torch.randn(2, 3, 8, 8)
    exact = all_channels(model(x, time, None))
    output = model.bfloat16()(x, time, None)
    assert (output.velocity.dtype, output.logvar.dtype) == (torch.float32, torch.float32)
    error = (all_channels(output) - exact).square().mean() / exact.square().mean()
    assert 0 < error.sqrt() < 0.05


@pytest.mark.parametrize("shape", [(2, 4, 8, 8), (2, 3, 8, 4), (2, 3, 4, 8), (2, 3, 16, 16)])
def test_images_of_another_shape_are_refused(shape):
    model = tiny_dit(8, in_channels=3)
    with pytest.raises(pf.UserError, match=r"this model takes \(B, 3, \*\(8, 8\)\)"):
        model(torch.randn(shape), torch.rand(2), None)


def test_times_for_another_number_of_patches_are_refused():
    with pytest.raises(pf.UserError, match="time for 9 patches, but the image has 16"):
        tiny_dit()(torch.randn(2, 3, 8, 8), torch.rand(2, 9), None)


def test_times_for_another_number_of_images_are_refused():
    model, x = tiny_dit(), torch.randn(3, 3, 8, 8)
    time = pf.PatchTime(torch.rand(1, 2), torch.arange(16)[None] % 2)
    with pytest.raises(pf.UserError):
        model(x, time, torch.tensor([0, 1, 2]))
