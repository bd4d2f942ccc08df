"""Texts as conditions of a network: padding, the null text, and what is computed once."""

import pytest
import torch
from torch import Tensor

import patch_forcing as pf
from patch_forcing.core.active import ActiveTokens, packed_tokens, token_index
from patch_forcing.models.cost import operations
from patch_forcing.models.text import TextEmbedder
from tests.support.exact import all_channels, tiny_dit

WIDTH, LENGTH = 6, 5
TEXT, BYTES = f"text:width={WIDTH},length={LENGTH}", f"bytes:length={LENGTH},refiner=1"


def texts(*counts: int, seed: int = 0) -> Tensor:
    """Embeddings of texts with so many tokens, in fp16 as encoders give them."""
    random = torch.Generator().manual_seed(seed)
    condition = torch.randn(len(counts), LENGTH, WIDTH, generator=random)
    for row, count in zip(condition, counts, strict=True):
        row[count:] = torch.nan
    return condition.half()


def model_of(kind: str, **sizes: bool | int | str) -> tuple[pf.PatchDiT, Tensor]:
    """A network and conditions of three images: of 3 tokens, of all, and of none."""
    condition = texts(3, LENGTH, 0)
    if kind == BYTES:
        condition = torch.tensor([[66, 67, 1, 0, 0], [256, 1, 5, 66, 9], [0, 0, 0, 0, 0]])
    return tiny_dit(num_classes=0, condition=kind, **sizes), condition


def noisy(batch: int = 3) -> tuple[Tensor, pf.PatchTime]:
    random = torch.Generator().manual_seed(1)
    index = torch.randint(2, (batch, 16), generator=random)
    x = torch.randn(batch, 3, 8, 8, generator=random)
    return x, pf.PatchTime(torch.rand(batch, 2, generator=random), index)


@pytest.mark.parametrize("kind", [TEXT, BYTES])
@torch.no_grad()
def test_images_depend_on_their_own_text_alone_and_none_is_the_null_text(kind):
    model, condition = model_of(kind)
    model.check_condition(condition, 3)
    x, t = noisy()
    one = all_channels(model(x, t, condition))
    other = all_channels(model(x, t, condition[[1, 1, 2]]))
    assert one[1:].allclose(other[1:], atol=1e-5)
    assert not one[0].allclose(other[0], atol=1e-3)
    null = all_channels(model(x, t))
    assert null[2].allclose(one[2], atol=1e-5)
    dropped = model.drop_condition(condition, torch.tensor([True, True, False]))
    assert dropped.dtype == condition.dtype
    assert all_channels(model(x, t, dropped)).allclose(null, atol=1e-5)


@torch.no_grad()
def test_what_stands_behind_a_text_is_not_seen_and_the_order_of_tokens_is():
    embedder = tiny_dit(num_classes=0, condition=TEXT).y_embedder
    assert isinstance(embedder, TextEmbedder)
    x, mask = torch.randn(1, LENGTH, 32), torch.tensor([[True] * 3 + [False] * 2])
    refined = embedder.refine(x, mask)
    x[:, 3:] = 7.0
    again = embedder.refine(x, mask)
    assert again.vector.equal(refined.vector)
    assert again.tokens[:, :3].equal(refined.tokens[:, :3])
    assert refined.mask.equal(mask)
    turned = embedder.refine(x[:, [1, 0, 2, 3, 4]], mask)
    assert not turned.vector.allclose(refined.vector, atol=1e-3)
    assert embedder.refine(x, ~mask & mask).mask.tolist() == [[True] + [False] * 4]


@pytest.mark.parametrize("guidance", [None, pf.ClassifierFreeGuidance(3.0, (0.2, 0.8))])
@pytest.mark.parametrize("sampler", [pf.samplers.EulerSampler(), pf.samplers.DualLoopSampler()])
@torch.no_grad()
def test_a_sampling_run_refines_its_texts_and_makes_their_keys_once(sampler, guidance):
    model, condition = model_of(TEXT)
    calls = []
    model.y_embedder.norm.register_forward_hook(lambda *_: calls.append("refined"))
    for block in model.blocks:
        block.cross.kv.register_forward_hook(lambda *_: calls.append("keys"))
    x_0 = torch.randn(3, 3, 8, 8)
    sample = sampler(pf.VelocityField(model, condition, guidance), x_0, [0, 0.1, 0.4, 0.9, 1.0])
    assert calls == ["refined", "keys", "keys"]
    model.prepare_condition = lambda given, _: given
    again = sampler(pf.VelocityField(model, condition, guidance), x_0, [0, 0.1, 0.4, 0.9, 1.0])
    assert sample.x_1.allclose(again.x_1, atol=1e-5)
    assert len(calls) > 9


@torch.no_grad()
def test_autoguidance_prepares_for_both_models_and_an_unconditional_run_once():
    model, condition = model_of(TEXT)
    weak, _ = model_of(TEXT, seed=1)
    x, t = noisy()
    field = pf.VelocityField(model, condition, pf.Autoguidance(weak, 2.0))
    good, bad = (one(x, t, condition).velocity for one in (model, weak))
    for _ in range(2):
        assert field(x, t).velocity.allclose(2 * good - bad, atol=1e-5)
    assert field(x, t, guided=False).velocity.allclose(good, atol=1e-5)
    assert pf.VelocityField(model)(x, t).velocity.allclose(model(x, t).velocity, atol=1e-5)


@pytest.mark.parametrize("position", ["sincos", "rope"])
@pytest.mark.parametrize("packed", [False, True])
@torch.no_grad()
def test_some_tokens_alone_see_the_text_of_their_image(packed, position):
    model, condition = model_of(TEXT, position=position)
    x, t = noisy()
    memory: list[Tensor] = []
    whole = all_channels(model(x, t, condition, active=ActiveTokens(None, memory)))
    assert whole.equal(all_channels(model(x, t, condition)))
    where = torch.zeros(3, 16, dtype=torch.bool)
    for row, tokens in zip(where, ([0, 5, 9], [1, 2, 15], [3, 7, 8]), strict=True):
        row[tokens] = True
    if packed:
        where[0, 11] = True
        tokens = packed_tokens(where, 10)
    else:
        tokens = token_index(where, 3)
    given = model.prepare_condition(condition, 3)
    part = all_channels(model(x, t, given, active=ActiveTokens(tokens, memory)))
    pixels = pf.spread(where, (8, 8), 2).expand_as(whole)
    assert part[pixels].allclose(whole[pixels], atol=1e-5)
    assert not part[~pixels].any()


@pytest.mark.parametrize("kind", [TEXT, BYTES])
def test_every_weight_learns_and_what_is_computed_again_gives_the_same_gradients(kind):
    model, condition = model_of(kind, position="rope", condition_size=8)
    assert model.t_embedder.mlp[2].out_features == 8
    model.train()
    x, t = noisy()
    gradients = []
    for again in ("none", "all"):
        model.recompute_activations = again
        loss = all_channels(model(x, t, condition)).square().mean()
        gradients.append(torch.autograd.grad(loss, list(model.parameters())))
    assert all(one.equal(other) for one, other in zip(*gradients, strict=True))
    assert all(one.any() for one in gradients[0])


@pytest.mark.parametrize("kind", [TEXT, BYTES])
@torch.no_grad()
def test_bf16_gives_nearly_the_same(kind):
    model, condition = model_of(kind, position="rope")
    x, t = noisy()
    expected = all_channels(model(x, t, condition))
    with torch.autocast("cpu", torch.bfloat16):
        cast = all_channels(model(x, t, model.prepare_condition(condition, 3)))
    half = model.bfloat16()
    given = half.prepare_condition(condition, 3)
    for result in (cast, all_channels(half(x, t, given)), all_channels(half(x, t, condition))):
        assert result.dtype == torch.float32
        assert (result - expected).abs().mean() < 0.05 * expected.abs().mean()


def test_texts_change_nothing_at_first():
    block = pf.PatchDiT(tiny_dit(condition=TEXT, num_classes=0).config).blocks[0]
    assert not block.cross.proj.weight.any()
    assert block.cross.kv.weight.std() > 0.1


@torch.no_grad()
def test_a_model_of_texts_is_stored_and_loaded(tmp_path):
    model, condition = model_of(TEXT, position="rope", condition_size=8)
    model.save(tmp_path / "model")
    loaded = pf.load_model(tmp_path / "model")
    assert loaded.config == model.config
    x, t = noisy()
    assert loaded(x, t, condition).velocity.equal(model(x, t, condition).velocity)
    assert operations(model.config, 2) > operations(tiny_dit(num_classes=0).config, 2)


@pytest.mark.parametrize(
    ("kind", "condition", "message"),
    [
        (TEXT, texts(2)[:, :4], r"\(1, 4, 6\) of torch.float16: give \(1, 5, 6\)"),
        (TEXT, torch.tensor([3]), r"text embeddings \(1,\) of torch.int64"),
        (BYTES, torch.full((1, 5), 257), "out of range: give 0 to 256"),
        (BYTES, torch.zeros(1, 4, dtype=torch.int64), r"give \(1, 5\) int64"),
    ],
)
def test_what_is_no_text_of_the_model_is_refused(kind, condition, message):
    with pytest.raises(pf.UserError, match=message):
        model_of(kind)[0].check_condition(condition, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"condition": "text:length=3"}, "width"),
        ({"condition": "text:width=0"}, "width=0"),
        ({"condition": "bytes:length=0"}, "length=0"),
        ({"position": "rop"}, "did you mean 'rope'"),
        ({"position": "rope", "hidden_size": 24}, "heads of width 6 are not divisible by 4"),
        ({"condition_size": 0}, "condition_size=0"),
    ],
)
def test_sizes_that_do_not_suit_are_refused(options, message):
    with pytest.raises(pf.UserError, match=message):
        tiny_dit(**options)


@pytest.mark.parametrize(
    ("name", "millions"),
    [("text-20m", 23.6), ("text-100m", 102.5), ("text-400m", 395.9), ("text-1.2b", 1219.1)],
)
def test_presets_of_text_to_image_have_the_size_of_their_name(name, millions):
    condition = "text:width=2048,length=256"
    with torch.device("meta"):
        model = pf.PatchDiT(pf.preset(f"{name}/2", in_channels=32, condition=condition))
    assert sum(w.numel() for w in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)
    config = model.config
    assert (config.position, config.num_classes) == ("rope", 0)
    if name == "text-1.2b":  # the paper's
        assert (config.depth, config.hidden_size, config.num_heads) == (28, 1536, 16)
        assert config.condition_size == 384
