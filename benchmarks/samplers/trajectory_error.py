"""How far few evaluations end from where the same noise is led by many: samplers as solvers.

    python -m benchmarks.samplers.trajectory_error --out docs/results/emoji/trajectory.json

A Fréchet distance may fall where a solver errs, if the model's own flow is not the best there is;
this one is 0 for the exact flow alone. RMS over all pixels of x_1, whose range is −1 … 1.
"""

import torch
from torch import Tensor

import patch_forcing as pf
from benchmarks.common.options import command_line
from benchmarks.common.record import Row, provenance, write_json
from benchmarks.emoji.samplings import AB2, FIFTH_TWICE, SHIFTED
from patch_forcing.core.random import CountedGenerator
from patch_forcing.core.registry import build
from patch_forcing.models.loading import load_model
from patch_forcing.sampling.evaluation import SampleResult
from patch_forcing.sampling.grids import GRIDS, Grid, QuantileGrid
from patch_forcing.sampling.samplers import SAMPLERS, steps_within

BUDGETS = (8, 12, 16)
SPECS = (AB2, "multirate", "multirate:rank=random", FIFTH_TWICE, "adaptive", "euler")
PLACINGS = ("uniform", SHIFTED, "fitted")


@torch.no_grad()
def follow(
    model: pf.PatchDiT, spec: str, nfe: float, placing: str, seeds: range, device: str
) -> SampleResult:
    """What a sampler makes of these seeds, whose labels are their numbers."""
    sampler = build("sampler", SAMPLERS, spec)
    fitted = placing == "fitted"
    grid: Grid = (
        QuantileGrid(model.sampling_info.time_quantiles)
        if fitted
        else build("time grid", GRIDS, placing)
    )
    times = grid(steps_within(sampler, nfe, model.config.num_patches, None, grid))
    labels = torch.tensor([seed % model.config.num_classes for seed in seeds], device=device)
    generator = CountedGenerator(seeds, device=device)
    noise = generator.fork("noise").normal(model.config.in_channels, *model.config.image_size)
    field = pf.VelocityField(model, labels)
    return sampler(field, noise, times, generator=generator.fork("sampler"))


def rms(x: Tensor) -> float:
    """Of all its numbers."""
    return float(x.square().mean().sqrt())


def main() -> None:
    """Measure, print, write."""
    parser = command_line(__doc__, "weights")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--reference", type=int, default=96, help="steps of the flow itself")
    options = parser.parse_args()
    model = load_model(options.weights, options.device)
    seeds = range(options.images)
    ends = [
        follow(model, AB2, count, "uniform", seeds, options.device).x_1
        for count in (options.reference, options.reference // 2)
    ]
    report: Row = {
        **provenance(__file__, options.device),
        "images": options.images,
        "reference": options.reference,
        "reference_error": rms(ends[0] - ends[1]),  # of half as many steps
        "rows": [],
    }
    print(f"{options.reference} steps against half as many: {report['reference_error']:.4f}")
    for placing in PLACINGS:
        for spec in SPECS:
            for nfe in BUDGETS:
                result = follow(model, spec, nfe, placing, seeds, options.device)
                error = rms(result.x_1 - ends[0])
                row = {"sampler": spec, "grid": placing, "asked": nfe, "nfe": result.nfe}
                report["rows"].append(row | {"error": error})
                print(f"{spec:24} {placing:16} {result.nfe:6.2f}  {error:.4f}", flush=True)
                write_json(options.out, report)


if __name__ == "__main__":
    main()
