"""Number types to sample in: what goes in and comes out stays, and rounding is all that changes."""

import pytest
import torch

import patch_forcing as pf
from patch_forcing.models.inference import cast_weights, takes_fp8
from tests.support.exact import tiny_dit


def answer(model, device="cpu"):
    generator = torch.Generator().manual_seed(0)
    config = model.config
    x = torch.randn(4, config.in_channels, *config.image_size, generator=generator).to(device)
    t = torch.rand(4, config.num_patches, generator=generator).to(device)
    with torch.no_grad():
        return model(x, t, torch.arange(4, device=device) % config.num_classes)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_answer_is_float_whatever_the_network_computes_in(precision):
    model = tiny_dit()
    before = answer(model)
    cast_weights(model, precision)
    after = answer(model)
    assert after.velocity.dtype == after.logvar.dtype == torch.float32
    assert (after.velocity - before.velocity).norm() <= 0.03 * before.velocity.norm()
    assert after.velocity.equal(before.velocity) == (precision == "fp32")


def test_fp8_says_what_it_needs_and_changes_nothing():
    model = tiny_dit()
    before = answer(model)
    with pytest.raises(pf.UserError, match=r"fp8 on cpu: choose bf16; it needs an NVIDIA GPU"):
        cast_weights(model, "fp8")
    assert answer(model).velocity.equal(before.velocity)


def test_fp8_is_for_what_multiplies_every_token_but_the_first_and_the_last_mlp():
    blocks = tiny_dit(depth=12).blocks
    names = {name for name, part in blocks.named_modules() if takes_fp8(part, name, depth=12)}
    attention = {f"{k}.attn.{name}" for k in range(12) for name in ("qkv", "proj")}
    assert names == attention | {f"{k}.mlp.{name}" for k in range(1, 11) for name in ("fc1", "fc2")}


@pytest.mark.gpu
def test_fp8_rounds_and_no_more():
    pytest.importorskip("torchao")
    torch.manual_seed(0)
    model = pf.load_model("src/patch_forcing/bundled/emoji-64").cuda()
    before = answer(model, "cuda").velocity
    cast_weights(model, "fp8")
    assert (answer(model, "cuda").velocity - before).norm() <= 0.1 * before.norm()


@pytest.mark.gpu
def test_gelu_within_the_product_is_gelu():
    model = pf.load_model("src/patch_forcing/bundled/emoji-64").cuda().bfloat16()
    within = answer(model, "cuda").velocity
    with torch.enable_grad():
        x = torch.randn(2, 8, 320, device="cuda", dtype=torch.bfloat16)
        plain = model.blocks[0].mlp(x)
    with torch.no_grad():
        fused = model.blocks[0].mlp(x)
    assert (fused - plain).norm() <= 0.01 * plain.norm()
    assert within.isfinite().all()
