"""Samples by recorded forward passes against compiled ones, on a GPU; for test_recorded.py."""

import sys

import torch

import patch_forcing as pf
from patch_forcing.core.random import CountedGenerator
from patch_forcing.core.registry import build
from patch_forcing.models.inference import compile_whole
from patch_forcing.sampling.grids import uniform_grid
from tests.scripts.compiled_sampling import GUIDANCE

SAMPLERS = (
    "euler",
    "look-ahead",
    "adams-bashforth",
    "dual-loop:evaluate=moving,easy_fraction=0.7,refresh=2",
    "multirate:rates=1/2,shares=0.5/0.5",
    "adaptive:exit=0.02,tolerance=0.1",
)


def differences(plain: pf.PatchDiT, recorded: pf.PatchDiT) -> list[str]:
    """Runs that differ, of three each: called as they are, recorded, replayed."""
    wrong = []
    for sampler in SAMPLERS:
        run = build("sampler", pf.samplers.SAMPLERS, sampler)
        for guidance in ("", "guided within"):
            for seed in range(3):
                labels = torch.arange(4, device="cuda") + seed
                generator = CountedGenerator(range(seed, seed + 4), device="cuda")
                noise = generator.fork("noise").normal(3, 64, 64)
                expected, result = (
                    run(
                        pf.VelocityField(model, labels, GUIDANCE[guidance]),
                        noise,
                        uniform_grid(6),
                        generator=generator.fork("sampler"),
                    )
                    for model in (plain, recorded)
                )
                if not (result.nfe == expected.nfe and result.x_1.equal(expected.x_1)):
                    error = float((result.x_1 - expected.x_1).abs().max())
                    wrong.append(f"{sampler} {guidance} {seed}: {error}")
    return wrong


def gives_memory_back(recorded: pf.PatchDiT) -> bool:
    """Whether a batch that does not fit leaves all as it was."""
    huge = torch.zeros(1, device="cuda").expand(2**22, 3, 64, 64)
    time = pf.PatchTime.everywhere(0.5, huge, recorded.config.num_patches)
    try:
        recorded(huge, time, None)
    except torch.OutOfMemoryError:
        pass
    else:
        return False
    x = torch.randn(2, 3, 64, 64, device="cuda")
    time = pf.PatchTime.everywhere(0.5, x, recorded.config.num_patches)
    answers = [recorded(x, time, None).velocity for _ in range(4)]
    return all(answer.equal(answers[0]) for answer in answers)


def main() -> None:
    """Status 1, and what differs, unless nothing does."""
    plain, recorded = (
        pf.load_model("src/patch_forcing/bundled/emoji-64").cuda().bfloat16() for _ in range(2)
    )
    compile_whole(recorded)
    plain.forward = recorded.forward._forward  # type: ignore[method-assign]
    with torch.no_grad():
        wrong = differences(plain, recorded)
        if not gives_memory_back(recorded):
            wrong.append("memory that ran out")
    sys.exit("\n".join(wrong) or None)


if __name__ == "__main__":
    main()
