"""What adapters refuse, each in one line, and what any of them has."""

import re

import pytest
import torch
from torch import nn

import patch_forcing as pf
from patch_forcing import hosts
from patch_forcing.hosts.flux import replaced_outputs
from tests.support import hosts as tiny


class Plain(hosts.Host):
    """A model of one time an image."""

    def velocity(self, x_t, t, texts):
        return -self.model(x_t) * self.one_time(t)[:, None, None, None]


def plain(**options):
    return Plain(nn.Conv2d(2, 2, 1), **options)


TEXTS = {"embedded": torch.zeros(3, 4, 6)}
X = torch.zeros(2, 2, 4, 4)
HALF = pf.PatchTime.shared(torch.full((2,), 0.5), 16)


def ask(condition=None, t=HALF, **options):
    plain(**options)(X, t, condition)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plain(texts=TEXTS | {"mask": torch.ones(2, 4)}), "as many rows"),
        (lambda: plain(texts=TEXTS, null=3), "null=3, but there are 3 texts"),
        (lambda: plain(null=0), "null=0, but there are 0 texts"),
        (lambda: ask(texts=TEXTS), "no condition and no null text"),
        (lambda: pf.VelocityField(plain(texts=TEXTS), torch.tensor([1, 3])), "rows 1 to 3"),
        (lambda: pf.VelocityField(plain(texts=TEXTS), torch.tensor([0.0])), "whole numbers"),
        (lambda: pf.VelocityField(plain(), torch.tensor([0])), "the host has no texts"),
        (
            lambda: pf.VelocityField(
                plain(texts=TEXTS), torch.tensor([0, 1]), pf.ClassifierFreeGuidance(2.0)
            )(X, HALF),
            "give the host its row as null",
        ),
        (
            lambda: ask(t=pf.PatchTime.two_level(torch.eye(16)[:2] > 0, 0.7, 0.2)),
            "Conv2d takes one time an image, and this sampler or guidance",
        ),
        (
            lambda: pf.samplers.DualLoopSampler(evaluate="moving")(
                hosts.with_difficulty(pf.VelocityField(plain()), "change"), X, [0.0, 0.5, 1.0]
            ),
            "evaluate=all",
        ),
        (lambda: hosts.to_video(X, 3), "4 rows are not 3 frames"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(pf.UserError, match=re.escape(message)):
        call()


def test_models_that_do_not_fit_are_named():
    from diffusers import WanTransformer3DModel

    with pytest.raises(pf.UserError, match="not a flow map"):
        hosts.Flux3Host(tiny.flux3_model(flow_map=True))
    deep = WanTransformer3DModel(
        patch_size=(2, 2, 2), num_attention_heads=1, attention_head_dim=12, num_layers=1
    )
    with pytest.raises(pf.UserError, match="2×2×2"):
        hosts.WanHost(deep, 2)
    x, rows = torch.randn(1, 4, 6, 4), torch.tensor([1])
    with pytest.raises(pf.UserError, match="encode the prompts for images of this size"):
        tiny.ideogram4().host(x, pf.PatchTime.shared(torch.tensor([0.5]), 24), rows)


def test_a_hook_that_is_passed_over_is_named():
    layer = nn.Linear(2, 2)
    with (
        pytest.raises(pf.UserError, match="passes over the times of patches in Linear"),
        replaced_outputs({layer: lambda *call: call[2]}),
    ):
        layer.forward(torch.zeros(1, 2))


@pytest.mark.slow
def test_a_model_compiled_as_a_whole_is_refused_at_times_of_patches():
    model = tiny.flux2()
    x, rows = model.inputs()
    model.host.model.compile(backend="eager")
    with torch.no_grad():
        model.host(x, pf.PatchTime.shared(torch.tensor([0.3, 0.8]), 12), rows)
        with pytest.raises(pf.UserError, match="not compiled as a whole"):
            model.host(x, pf.PatchTime.dense(torch.rand(2, 12)), rows)


def test_equal_times_in_any_form_are_one_time():
    time = torch.tensor([0.25, 0.1])
    dense = pf.PatchTime.dense(time[:, None].expand(-1, 16))
    assert torch.equal(plain().one_time(dense), time)


def test_videos_are_their_frames_one_below_the_other():
    video = torch.randn(2, 3, 4, 5, 6)
    tall = hosts.from_video(video)
    assert torch.equal(tall[:, :, 5:10], video[:, :, 1])
    assert torch.equal(hosts.to_video(tall, 4), video)
    tokens = hosts.to_tokens(tall)
    assert torch.equal(tokens[:, 30 + 6], video[:, :, 1, 1, 0])
    assert torch.equal(hosts.from_tokens(tokens, tall), tall)
