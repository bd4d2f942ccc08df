"""Adapters against the models' own calls: diffusers' classes, tiny, with random weights."""

import pytest
import torch

import patch_forcing as pf
from patch_forcing import hosts
from patch_forcing.core.registry import build
from patch_forcing.sampling.samplers import SAMPLERS, count_evaluations
from tests.support import hosts as tiny

GRID = [0.0, 0.2, 0.5, 0.75, 1.0]
CLOSE = {"rtol": 0, "atol": 1e-6}


@pytest.fixture(params=tiny.TINY, ids=lambda make: make.__name__)
def model(request):
    with torch.no_grad():
        yield request.param()


def test_one_time_everywhere_is_the_models_own_call(model):
    x, rows = model.inputs()
    t = torch.tensor([0.3, 0.8])
    own = model.own(x, t, rows)
    assert own.std() > 0.05
    dense = t[:, None].expand(-1, model.num_patches)
    where = torch.rand(dense.shape) < 0.5
    for time in (
        pf.PatchTime.shared(t, model.num_patches),
        pf.PatchTime.dense(dense),
        pf.PatchTime.two_level(where, t, t),
    ):
        torch.testing.assert_close(model.host(x, time, rows).velocity, own, **CLOSE)


def test_each_token_is_modulated_by_its_own_time(model):
    """Where no token sees another, it is what the model's own call at its time makes of it."""
    tiny.without_attention(model.host.model)
    x, rows = model.inputs()
    levels = torch.tensor([[0.1, 0.6, 0.95], [0.0, 0.4, 0.7]])
    index = torch.arange(model.num_patches).expand(2, -1) % 3
    velocity = model.host(x, pf.PatchTime(levels, index), rows).velocity
    size = x.shape[-2:]
    for number in range(3):
        own = model.own(x, levels[:, number], rows)
        here = pf.spread(index == number, size, model.host.patch_size).expand_as(x)
        torch.testing.assert_close(velocity[here], own[here], **CLOSE)
        assert (velocity[~here] - own[~here]).abs().max() > 1e-3


def test_tokens_see_the_times_of_others(model):
    x, rows = model.inputs()
    t = torch.full((2, model.num_patches), 0.4)
    before = model.host(x, pf.PatchTime.dense(t), rows).velocity
    t[:, 0] = 0.9
    after = model.host(x, pf.PatchTime.dense(t), rows).velocity
    assert (after - before)[..., -1, -1].abs().min() > 0


def test_adams_bashforth_at_token_times_goes_the_way_of_its_scalar_twin(model):
    x_0, rows = model.inputs()
    sampler = pf.samplers.AdamsBashforthSampler()
    field = tiny.Densely(pf.VelocityField(model.host, rows))
    ours = sampler(field, x_0, GRID, trace=True)
    twin = sampler(lambda x, t: model.own(x, t, rows), x_0, GRID, trace=True)
    assert ours.nfe == twin.nfe == 4
    for one, other in zip(ours.trace, twin.trace, strict=True):
        torch.testing.assert_close(one.prediction, other.prediction, rtol=0, atol=1e-5)
    torch.testing.assert_close(ours.x_1, twin.x_1, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["euler", "dual-loop", "look-ahead", "multirate:evaluate=all", "adaptive:evaluate=all"]
)
def test_evaluations_are_the_calls_of_the_model(name):
    model = tiny.flux2()
    calls = []
    model.host.model.register_forward_pre_hook(
        lambda *call: calls.append(len(call[2]["hidden_states"])), with_kwargs=True
    )
    x_0, rows = model.inputs()
    guidance = pf.ClassifierFreeGuidance(2.0)
    field = hosts.with_difficulty(pf.VelocityField(model.host, rows, guidance), "change")
    sampler = build("sampler", SAMPLERS, name)
    result = sampler(field, x_0, GRID, generator=torch.Generator().manual_seed(0))
    assert result.nfe == sum(calls) / len(x_0)
    most = count_evaluations(sampler, GRID, model.num_patches, guidance)
    assert result.nfe <= most if name.startswith("adaptive") else result.nfe == most


def test_guidance_leads_away_from_the_null_text():
    model = tiny.ltx()
    x, rows = model.inputs()
    t = pf.PatchTime.shared(torch.tensor([0.3, 0.8]), model.num_patches)
    with torch.no_grad():
        guided = pf.VelocityField(model.host, rows, pf.ClassifierFreeGuidance(3.0))(x, t)
        good = model.own(x, t.values[:, 0], rows)
        bad = model.own(x, t.values[:, 0], torch.zeros_like(rows))
        bare = model.host(x, t).velocity
    torch.testing.assert_close(guided.velocity, bad + 3 * (good - bad), rtol=0, atol=1e-5)
    torch.testing.assert_close(bare, bad, **CLOSE)
    assert guided.evaluations == 2


def test_ideogram_is_guided_by_a_model_without_text():
    model, weak = tiny.ideogram4(), tiny.ideogram4().host.model
    x, rows = model.inputs()
    t = torch.tensor([0.3, 0.8])
    guidance = pf.Autoguidance(model.host.without_text(weak, 12), 4.0)
    with torch.no_grad():
        field = pf.VelocityField(model.host, rows, guidance)
        guided = field(x, pf.PatchTime.shared(t, 12)).velocity
        image_alone = weak(
            hidden_states=x.flatten(2).mT,
            timestep=t,
            encoder_hidden_states=torch.zeros(2, 12, tiny.WIDTH),
            position_ids=torch.cartesian_prod(*map(torch.arange, (1, 3, 4))).expand(2, -1, -1)
            + 65536,
            segment_ids=torch.ones(2, 12, dtype=torch.int64),
            indicator=torch.full((2, 12), 2),
        ).sample.mT.reshape(x.shape)
        pipeline = 4.0 * model.own(x, t, rows) - 3.0 * image_alone
    torch.testing.assert_close(guided, pipeline, rtol=0, atol=1e-5)


def test_a_model_in_low_precision_takes_and_gives_fp32():
    model = tiny.flux3()
    x, rows = model.inputs()
    t = pf.PatchTime.two_level(torch.rand(2, 12) < 0.5, 0.7, 0.2)
    with torch.no_grad():
        full = model.host(x, t, rows).velocity
        model.host.model.to(torch.bfloat16)
        low = model.host(x, t, rows).velocity
    assert low.dtype == torch.float32
    assert 0 < (low - full).abs().max() < 0.1 * full.std() + 0.1


def test_the_model_is_left_as_it_was():
    model = tiny.flux2()
    x, rows = model.inputs()
    time = pf.PatchTime.dense(torch.rand(2, 12))
    with torch.no_grad():
        model.host(x, time, rows)
        with pytest.raises(Exception, match="shape"):
            model.host(x[:, :3], time, rows)
    assert not any(module._forward_hooks for module in model.host.model.modules())


@pytest.mark.slow
def test_coordinates_are_those_of_the_pipelines():
    from diffusers import Flux2KleinPipeline, Ideogram4Pipeline
    from diffusers.modular_pipelines.flux3.before_denoise import _prepare_image_ids

    from patch_forcing.hosts.flux import image_ids, text_ids

    x = torch.zeros(1, 4, 3, 5)
    assert torch.equal(image_ids(x), Flux2KleinPipeline._prepare_latent_ids(x)[0])
    ids = Flux2KleinPipeline._prepare_text_ids(torch.zeros(1, 7, 6))[0]
    assert torch.equal(text_ids(7, x.device), ids)
    scaled = image_ids(x, 0.5)
    scaled[:, 3] *= 2  # it is 0
    assert torch.equal(scaled.float(), _prepare_image_ids(3, 5, 0.5))
    ours = tiny.ideogram_texts(3, 3, 4)
    theirs = Ideogram4Pipeline._prepare_ids([3, 2, 3], 3, 4, 3, x.device)
    for name, ids in zip(("position_ids", "segment_ids", "indicator"), theirs, strict=True):
        assert torch.equal(ours[name], ids), name
