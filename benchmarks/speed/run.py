"""Forward, sampling and training against the published design, every ratio from one run.

    python -m benchmarks.speed.run --sizes B/2 L/2 XL/2 --out docs/results/speed
    python -m benchmarks.pages.write docs/results/speed.md

The baseline is the published design (benchmarks/speed/published.py). Random weights.
"""

import argparse
import copy
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import patch_forcing as pf
from benchmarks.common.options import command_line
from benchmarks.common.record import Row, check_kept, provenance, write_json
from benchmarks.speed.published import Published, published_step
from benchmarks.speed.ratios import against_euler, times_faster
from patch_forcing.core.errors import UserError
from patch_forcing.data.batch import Batch, TensorData
from patch_forcing.data.sources import Digits
from patch_forcing.generation.speed import random_model
from patch_forcing.io.provenance import hardware
from patch_forcing.models.config import DataInfo
from patch_forcing.models.cost import Timing, matrix_rate, operations, timed
from patch_forcing.models.inference import compile_whole
from patch_forcing.runs.recipe import Network, Recipe
from patch_forcing.runs.state import initial_state
from patch_forcing.runs.step import TrainStep, side_stream
from patch_forcing.sampling.grids import uniform_grid

TRAIN_BATCH = {"B": 256, "L": 128, "XL": 128}
STEPS = {  # times, nodes that conditions are interpolated between, what is computed again
    "LTG, published": ("ltg", 0, "none"),
    "LTG, each time": ("ltg", 0, "none"),
    "LTG, ours": ("ltg", 16, "none"),
    "LTG, ours, cheap again": ("ltg", 16, "cheap"),
    "LTG of 8 levels, ours": ("ltg:levels=8", 16, "none"),
    "LTG of 8 levels, ours, GELU again": ("ltg:levels=8", 16, "gelu"),
    "LTG of 8 levels, ours, cheap again": ("ltg:levels=8", 16, "cheap"),
}
GRID = uniform_grid(6)
DUAL_LOOP = {"easy_fraction": 0.7, "inner_steps": 4}


def row(size: str, what: str, timing: Timing, **more: Any) -> Row:
    """One line of the report."""
    return {"size": size, "what": what, "ms": 1e3 * timing.median, **more, "timing": timing.seconds}


@torch.no_grad()
def sampling(size: str, options: argparse.Namespace, rate: float) -> Iterator[Row]:
    """One forward pass, and whole runs of the samplers."""
    device, batch = options.device, options.batch_size
    fp32 = random_model(pf.preset(size), device)
    ours = copy.deepcopy(fp32).to(torch.bfloat16)
    published = Published(fp32, options.compile)
    if options.compile:
        compile_whole(ours)
    config, patches = ours.config, ours.config.num_patches
    x = torch.randn(batch, config.in_channels, *config.image_size, device=device)
    labels = torch.arange(batch, device=device) % config.num_classes
    half = torch.arange(patches, device=device).expand(batch, -1) % 2 == 0
    one = pf.PatchTime.everywhere(0.5, x, patches)
    two = pf.PatchTime.two_level(half, 0.7, 0.5)
    useful = batch * operations(ours.config, 1)
    for name, model in (("published", published), ("ours", ours)):
        for what, t in (("one time", one), ("two times", two)):
            timing = timed(lambda model=model, t=t: model(x, t, labels), device, options.seconds)
            share = useful / timing.median / rate
            yield row(size, f"forward, {what}, {name}", timing, batch=batch, share=share)
    samplers = {
        "euler": pf.samplers.EulerSampler(),
        "dual-loop": pf.samplers.DualLoopSampler(**DUAL_LOOP),
        "dual-loop, moving": pf.samplers.DualLoopSampler(**DUAL_LOOP, evaluate="moving"),
        "look-ahead": pf.samplers.LookAheadSampler(),
    }
    for name, model in (("published", published), ("ours", ours)):
        field = pf.VelocityField(model, labels)
        for what, sampler in samplers.items():
            if model is published and "moving" in what:
                continue
            grid = uniform_grid(4 * (len(GRID) - 1)) if what == "euler" else GRID
            nfe = sampler(field, x, grid).nfe
            timing = timed(
                lambda field=field, sampler=sampler, grid=grid: sampler(field, x, grid),
                device,
                options.seconds,
            )
            ms_per_nfe = 1e3 * timing.median / nfe
            yield row(size, f"{what}, {name}", timing, batch=batch, nfe=nfe, ms_per_nfe=ms_per_nfe)


def training(size: str, options: argparse.Namespace) -> Iterator[Row]:
    """A training step: the published design with exact LTG, ours with it, ours with K = 8."""
    device, config = options.device, pf.preset(size)
    batch_size = options.train_batch_size or TRAIN_BATCH.get(size.split("/")[0], 128)
    images = torch.randn(batch_size, config.in_channels, *config.image_size)
    labels = torch.arange(batch_size) % config.num_classes
    data = TensorData(images, labels, config.num_classes, DataInfo())
    batch = Batch(images.to(device), labels.to(device))
    network = Network(config.patch_size, config.hidden_size, config.depth, config.num_heads)
    for what, (timesteps, nodes, again) in STEPS.items():
        if options.only and what not in options.only:
            continue
        if device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        recipe = Recipe(
            Digits(),  # not read: the batch is at hand
            network,
            timesteps=timesteps,
            time_nodes=nodes,
            snapshot_every=0,  # one average, as the published design
            batch_size=batch_size,
            precision="bf16",
            compile=options.compile,
            recompute_activations=again,
        )
        state = initial_state(recipe, data, device)
        if "published" in what:
            step = published_step(state.model, state.ema, recipe, batch, options.compile)
        else:
            ours, count = TrainStep(state, recipe, device), iter(range(10**9))

            def step(ours: TrainStep = ours, count: Iterator[int] = count) -> None:
                ours(batch, next(count))

        with side_stream(device):
            for _ in range(6):  # compiled, and recorded
                step()
            timing = timed(step, device, options.seconds)
        memory = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else None
        speed = {"images_per_second": batch_size / timing.median, "peak_gib": memory}
        yield row(size, f"training, {what}", timing, batch=batch_size, **speed)
        del state, step
        if "published" not in what:
            del ours
        gc.collect()


def main() -> None:
    """Measure, print, write."""
    parser = command_line(__doc__, "seconds", "no-compile", out="docs/results/speed")
    parser.add_argument("--sizes", nargs="+", default=["B/2", "L/2", "XL/2"])
    parser.add_argument("--parts", nargs="+", default=["sampling", "training"])
    parser.add_argument("--only", nargs="*", choices=STEPS, help="these training steps")
    parser.add_argument("--batch-size", type=int, default=64, help="of forward and sampling")
    parser.add_argument("--train-batch-size", type=int, help="default: B 256, L and XL 128")
    options = parser.parse_args()
    try:
        check_steps_kept(options)
    except UserError as error:
        parser.error(str(error))
    rate = matrix_rate(options.device, torch.bfloat16)
    print(f"{hardware(options.device)}: {rate / 1e12:.4g} TFLOP/s in one bf16 product", flush=True)
    for size in options.sizes:
        for part in options.parts:
            torch._dynamo.reset()
            measure(size, part, options, rate)


def report_path(size: str, part: str, options: argparse.Namespace) -> Path:
    """The file of a size and part."""
    return options.out / f"{size.replace('/', '-')}-{part}.json"


def check_steps_kept(options: argparse.Namespace) -> None:
    """Raises UserError if `--only` would take training steps out of a file."""
    made = [f"training, {what}" for what in options.only or STEPS]
    for size in options.sizes if "training" in options.parts else ():
        path = report_path(size, "training", options)
        check_kept(path, made, lambda held: [row["what"] for row in held["rows"]])


def measure(size: str, part: str, options: argparse.Namespace, rate: float) -> None:
    """One file: written row by row, so that a run cut short leaves what it measured."""
    made = sampling(size, options, rate) if part == "sampling" else training(size, options)
    rows: list[Row] = []
    for one in made:
        rows.append(one)
        more = {k: round(v, 3) for k, v in one.items() if isinstance(v, float)}
        print(f"{size} {one['what']}: {more}", flush=True)
        report = {
            **provenance(__file__, options.device),
            "size": size,
            "part": part,
            "matrix_rate": rate,
            "times_faster": times_faster(rows),
            "against_euler": against_euler(rows),
            "rows": rows,
        }
        write_json(report_path(size, part, options), report)
    for what, times in (times_faster(rows) | against_euler(rows)).items():
        print(f"{size:5} {what}: {times:.3f}")


if __name__ == "__main__":
    main()
