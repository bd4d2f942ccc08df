"""Counts the graphs that sampling compiles, and compiles a training step; for test_gates.py.

python -m tests.scripts.compiled_sampling CASE …
"""

import json
import sys
from functools import partial

import torch
from torch import Tensor

import patch_forcing as pf
from patch_forcing.core.random import CountedGenerator
from patch_forcing.core.registry import build
from patch_forcing.models.inference import in_graphs
from patch_forcing.sampling.grids import uniform_grid
from tests.support.exact import tiny_dit

GUIDANCE = {
    "": None,
    "guided": pf.ClassifierFreeGuidance(2.0),
    "guided within": pf.ClassifierFreeGuidance(2.0, (0.2, 0.6)),
}
GRAPHS = {
    "euler": 1,
    "euler guided": 1,
    "euler guided within": 2,
    "heun": 1,
    "euler-maruyama": 1,
    "dual-loop": 2,
    "dual-loop guided": 2,
    "dual-loop guided within": 4,
    "look-ahead": 2,
    "random-order guided": 2,
    "dual-loop:evaluate=moving": 2,
    "dual-loop:evaluate=moving guided": 2,
    "dual-loop:evaluate=moving,refresh=2": 3,
    "multirate:rates=1/2/4,shares=0.5/0.25/0.25": 3,
    "adaptive:exit=0.02,tolerance=0.1": 2,
}
"""One for each number of images, of distinct times and of tokens, but one for packed tokens however
many; fullgraph allows no breaks."""
FEWER = [  # without what is part of another case
    case
    for case in GRAPHS
    if case not in ("euler", "euler guided", "dual-loop", "dual-loop guided")
    and case not in ("dual-loop:evaluate=moving", "dual-loop:evaluate=moving,refresh=2")
]


def sample(
    model: pf.PatchDiT, sampler: str, steps: int, guidance: pf.ClassifierFreeGuidance | None
) -> Tensor:
    """Three images."""
    field = pf.VelocityField(model, torch.tensor([0, 3, 1]), guidance)
    generator = CountedGenerator([0, 1, 2])
    noise = generator.fork("noise").normal(3, 8, 8)
    run = build("sampler", pf.samplers.SAMPLERS, sampler)
    return run(field, noise, uniform_grid(steps), generator=generator.fork("sampler")).x_1


def count(case: str) -> dict[str, bool | int]:
    """Graphs of a first run, and of a second one with more steps."""
    torch._dynamo.reset()
    sampler, _, guidance = case.partition(" ")
    from torch._dynamo.testing import CompileCounter  # slow to import, and tests import this file

    model, counter = tiny_dit(), CompileCounter()
    plain = sample(model, sampler, 6, GUIDANCE[guidance])
    compiler = partial(torch.compile, fullgraph=True, backend=counter)
    model.forward = in_graphs(model.forward, compiler)  # type: ignore[method-assign,assignment]
    same = sample(model, sampler, 6, GUIDANCE[guidance]).equal(plain)
    graphs = counter.frame_count
    sample(model, sampler, 9, GUIDANCE[guidance])
    return {"same": same, "graphs": graphs, "more_for_more_steps": counter.frame_count - graphs}


def trains() -> bool:
    """Whether a training step on grouped times compiles whole, and gives the same gradients."""
    torch._dynamo.reset()
    objective = pf.PatchForcingObjective(
        pf.LinearPath(2), pf.timesteps.LogitNormalTruncatedGaussian(levels=3)
    )
    x_1, x_0 = torch.randn(2, 3, 3, 8, 8)
    index = torch.randint(3, (3, 16))
    values = torch.rand(3, 3)

    def loss(model: pf.PatchDiT) -> Tensor:
        time = pf.PatchTime(values, index)
        return objective(model, x_1, torch.tensor([0, 3, 1]), x_0=x_0, t=time).total

    gradients = []
    for function in (loss, torch.compile(loss, fullgraph=True, backend="aot_eager")):
        model = tiny_dit()
        function(model).backward()
        gradients.append([weight.grad for weight in model.parameters()])
    return all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*gradients, strict=True))


if __name__ == "__main__":
    cases = {case: count(case) for case in sys.argv[1:]}
    print(json.dumps({"sampling": cases, "training": trains()}))
