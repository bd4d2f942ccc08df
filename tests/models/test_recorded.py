"""Recorded forward passes give what the passes give."""

import pytest
import torch

import patch_forcing as pf
from patch_forcing.core.active import ActiveTokens
from patch_forcing.core.random import CountedGenerator
from patch_forcing.core.registry import build
from patch_forcing.models.recorded import Recorded, _shapes
from patch_forcing.sampling.grids import uniform_grid
from tests.support.exact import tiny_dit
from tests.support.scripts import run_script


class OnCPU(Recorded):
    """A CUDA graph's way on a CPU: replayed, what was called writes where it wrote first."""

    def _record(self, shape, active):
        memory = [] if active is None else list(active.memory)
        everything = active is None or active.tokens is None
        within = None if active is None else ActiveTokens(active.tokens, memory)
        shape.output, shape.memory = self._run(shape, within), memory
        if everything and active is not None:
            self._memories[_shapes(memory)] = memory

        casts = torch.is_autocast_enabled("cpu")

        class Graph:
            @staticmethod
            def replay():
                again_memory = [] if everything else memory
                again = None if active is None else ActiveTokens(shape.inputs[3], again_memory)
                with torch.autocast("cpu", torch.bfloat16, enabled=casts):
                    new = self._run(shape, again)
                ours = [shape.output.velocity, shape.output.logvar, *memory]
                torch._foreach_copy_(ours, [new.velocity, new.logvar, *again_memory])

        shape.graph = Graph()


@pytest.mark.parametrize(
    "sampler",
    [
        "dual-loop:evaluate=moving,easy_fraction=0.7,refresh=2",
        "multirate:rates=1/2,shares=0.5/0.5",
        "euler",
    ],
)
@pytest.mark.parametrize("interval", [(0.2, 0.6), pytest.param(None, marks=pytest.mark.slow)])
def test_each_graph_finds_the_keys_and_values_that_it_was_recorded_on(sampler, interval):
    plain, recorded = (pf.load("digits").model for _ in range(2))
    recorded.forward = OnCPU(recorded.forward)
    run = build("sampler", pf.samplers.SAMPLERS, sampler)
    labels = torch.arange(2)
    for seed in range(3):
        noise = CountedGenerator(range(seed, seed + 2)).fork("noise").normal(1, 8, 8)
        with torch.no_grad():
            expected, result = (
                run(
                    pf.VelocityField(model, labels, pf.ClassifierFreeGuidance(2.0, interval)),
                    noise,
                    uniform_grid(6),
                )
                for model in (plain, recorded)
            )
        assert result.x_1.equal(expected.x_1)
    assert any(shape.graph for shape in recorded.forward._shapes.values())


def test_a_graph_holds_for_the_autocast_that_it_was_recorded_under():
    plain, recorded = (pf.load("digits").model for _ in range(2))
    recorded.forward = OnCPU(recorded.forward)
    x_t = CountedGenerator(range(2)).fork("noise").normal(1, 8, 8)
    time = pf.PatchTime.everywhere(0.5, x_t, plain.config.num_patches)
    for casts in (False, True, False):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=casts):
            expected = plain(x_t, time).velocity
            for _ in range(4):
                assert recorded(x_t, time).velocity.equal(expected)


@pytest.mark.gpu
def test_samples_are_the_same_and_memory_is_given_back_where_it_runs_out():
    # in a process of its own: the type checks of the tests cannot be compiled
    run_script("recorded_sampling")


@torch.no_grad()
def test_texts_are_copied_where_a_graph_reads_them_once_a_run():
    plain, recorded = (tiny_dit(num_classes=0, condition="bytes:length=6") for _ in range(2))
    recorded.forward = OnCPU(recorded.forward)
    x_0, grid = torch.randn(2, 3, 8, 8), uniform_grid(6)
    for seed in range(3):
        texts = torch.randint(1, 256, (2, 6), generator=torch.Generator().manual_seed(seed))
        expected, result = (
            pf.samplers.EulerSampler()(pf.VelocityField(model, texts), x_0, grid).x_1
            for model in (plain, recorded)
        )
        assert result.equal(expected)
    (shape,) = recorded.forward._shapes.values()
    assert shape.graph is not None
    kept = shape.inputs[-1]
    before = kept._version
    field = pf.VelocityField(recorded, texts)
    pf.samplers.EulerSampler()(field, x_0, grid)
    assert kept._version == before + 1
