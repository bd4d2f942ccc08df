"""Proxies of difficulty on emoji-64, against its own difficulty head.

    python -m benchmarks.hosts.proxies --out docs/results/hosts/proxies.json

Rank correlations with the squared velocity error of held-out scenes, by time. Then dual-loop in the
order of each: how far it ends from where the same noise is led by many steps (RMS over pixels).
"""

import torch

import patch_forcing as pf
from benchmarks.common.options import command_line
from benchmarks.common.record import Row, provenance, write_json
from patch_forcing.core.random import CountedGenerator
from patch_forcing.generation.pipeline import Pipeline
from patch_forcing.hosts import calibrate, with_difficulty
from patch_forcing.sampling.dual_loop import DualLoopSampler, RandomOrderSampler
from patch_forcing.sampling.field import Field
from patch_forcing.sampling.grids import uniform_grid
from patch_forcing.scoring.clean_images import CleanImages

SCALE = 2.0
STEPS = 6
"""Of dual-loop with 4 evaluations each."""
ORDERS = ("head", "change", "contrast", "spread", "gap", "random")


def calibrations(pipe: Pipeline, images: CleanImages, batch_size: int) -> Row:
    """Reports without guidance, and with it: the gap needs some."""
    batches = list(images.batches(batch_size))
    x_1 = torch.cat([batch.x_1 for batch in batches])
    labels = torch.cat([batch.condition for batch in batches if batch.condition is not None])
    reports = {}
    for name, guidance in (("alone", None), ("guided", pf.ClassifierFreeGuidance(SCALE))):
        report = calibrate(pipe.model, x_1, labels, guidance=guidance, batch_size=batch_size)
        reports[name] = dict(report.record)
        print(f"{name}\n{report.markdown()}", flush=True)
    return reports


@torch.no_grad()
def distances(pipe: Pipeline, count: int, reference: int) -> list[Row]:
    """Of dual-loop in each order, guided, from the model's own flow."""
    model, device = pipe.model, pipe.model.pos_embed.device
    generator = CountedGenerator(range(count), device=device)
    noise = generator.fork("noise").normal(model.config.in_channels, *model.config.image_size)
    labels = torch.arange(count, device=device) % model.config.num_classes
    field = pf.VelocityField(model, labels, pf.ClassifierFreeGuidance(SCALE))
    flow = pf.samplers.AdamsBashforthSampler()
    goal, near = (
        flow(field, noise, uniform_grid(steps)).x_1 for steps in (reference, reference // 2)
    )
    rows: list[Row] = [{"order": "flow", "error": _rms(near - goal)}]
    for order in ORDERS:
        sampler = RandomOrderSampler() if order == "random" else DualLoopSampler()
        rated: Field = field if order in ("head", "random") else with_difficulty(field, order)
        result = sampler(rated, noise, uniform_grid(STEPS), generator=generator.fork("sampler"))
        rows.append({"order": order, "nfe": result.nfe, "error": _rms(result.x_1 - goal)})
        print(rows[-1], flush=True)
    return rows


def _rms(x: torch.Tensor) -> float:
    return float(x.square().mean().sqrt())


def main() -> None:
    """Measure, print, write."""
    parser = command_line(__doc__, "atlas", "weights")
    parser.add_argument("--images", type=int, default=64, help="scenes of the calibration")
    parser.add_argument("--seeds", type=int, default=16, help="images that are sampled")
    parser.add_argument("--reference", type=int, default=48, help="steps of the flow itself")
    options = parser.parse_args()
    pipe = pf.load(str(options.weights), device=options.device)
    images = CleanImages(pipe, options.atlas, options.images)
    report: Row = {
        **provenance(__file__, options.device),
        "guidance": SCALE,
        "steps": STEPS,
        "seeds": options.seeds,
        "reference": options.reference,
        "calibration": calibrations(pipe, images, 32),
        "data": images.recipe(),
        "sampling": distances(pipe, options.seeds, options.reference),
    }
    write_json(options.out, report)


if __name__ == "__main__":
    main()
