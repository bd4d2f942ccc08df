"""Recorded forward passes give what the passes give."""

import pytest
import torch

import patch_forcing as pf
from patch_forcing.core.random import CountedGenerator
from patch_forcing.core.registry import build
from patch_forcing.models.inference import compile_whole
from patch_forcing.sampling.grids import uniform_grid

pytestmark = pytest.mark.gpu

GUIDANCE = {"": None, "guided within": pf.ClassifierFreeGuidance(2.0, (0.2, 0.6))}


@pytest.fixture(scope="module")
def models():
    """The same network, compiled, and compiled and recorded."""
    plain, recorded = (
        pf.load_model("src/patch_forcing/bundled/emoji-64").cuda().bfloat16() for _ in range(2)
    )
    compile_whole(recorded)
    plain.forward = recorded.forward._forward
    return plain, recorded


@pytest.mark.parametrize("guidance", GUIDANCE)
@pytest.mark.parametrize(
    "sampler",
    [
        "euler",
        "look-ahead",
        "adams-bashforth",
        "dual-loop:evaluate=moving,easy_fraction=0.7,refresh=2",
        "multirate:rates=1/2,shares=0.5/0.5",
        "adaptive:exit=0.02,tolerance=0.1",
    ],
)
@torch.no_grad()
def test_samples_are_the_same(models, sampler, guidance):
    run = build("sampler", pf.samplers.SAMPLERS, sampler)
    for seed in range(3):  # eager, recorded, replayed
        labels = torch.arange(4, device="cuda") + seed
        generator = CountedGenerator(range(seed, seed + 4), device="cuda")
        noise = generator.fork("noise").normal(3, 64, 64)
        expected, found = (
            run(
                pf.VelocityField(model, labels, GUIDANCE[guidance]),
                noise,
                uniform_grid(6),
                generator=generator.fork("sampler"),
            )
            for model in models
        )
        assert found.nfe == expected.nfe
        assert found.x_1.equal(expected.x_1)


@torch.no_grad()
def test_memory_of_recordings_is_given_back_where_it_runs_out(models):
    _, recorded = models
    huge = torch.zeros(1, device="cuda").expand(2**22, 3, 64, 64)
    time = pf.PatchTime.everywhere(0.5, huge, recorded.config.num_patches)
    with pytest.raises(torch.OutOfMemoryError):
        recorded(huge, time, None)
    x = torch.randn(2, 3, 64, 64, device="cuda")
    time = pf.PatchTime.everywhere(0.5, x, recorded.config.num_patches)
    answers = [recorded(x, time, None).velocity for _ in range(4)]
    assert all(answer.equal(answers[0]) for answer in answers)
