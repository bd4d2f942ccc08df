"""Forward, sampling and training against the published design, every ratio from one run.

    python -m benchmarks.speed.run --sizes B/2 L/2 XL/2 --out docs/results/speed
    python -m benchmarks.speed.report

The baseline is the published design, rebuilt from its description: a condition for every token,
blocks compiled one by one, bf16 by autocast over fp32 weights, every evaluation on all tokens; in
training AdamW as torch chooses it and an average updated weight by weight. Random weights.
"""

import argparse
import copy
import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import patch_forcing as pf
from patch_forcing.core.path import LinearPath
from patch_forcing.data.batch import Batch, TensorData
from patch_forcing.data.digits import Digits
from patch_forcing.generation.speed import random_model
from patch_forcing.io.provenance import hardware, origin
from patch_forcing.models.attention import torchs
from patch_forcing.models.config import DataInfo
from patch_forcing.models.cost import Timing, matrix_rate, operations, timed
from patch_forcing.models.dit import PatchDiT
from patch_forcing.models.inference import compile_whole
from patch_forcing.models.linear_gelu import plain_linear_gelu
from patch_forcing.runs.recipes import Network, Recipe
from patch_forcing.runs.state import initial_state
from patch_forcing.runs.step import TrainStep, side_stream
from patch_forcing.sampling.grids import uniform_grid

Row = dict[str, Any]
TRAIN_BATCH = {"B": 256, "L": 128, "XL": 128}
STEPS = {  # times, nodes that conditions are interpolated between, what is computed again
    "LTG, published": ("ltg", 0, "none"),
    "LTG, each time": ("ltg", 0, "none"),
    "LTG, ours": ("ltg", 16, "none"),
    "LTG, ours, cheap again": ("ltg", 16, "cheap"),
    "LTG of 8 levels, ours": ("ltg:levels=8", 16, "none"),
    "LTG of 8 levels, ours, cheap again": ("ltg:levels=8", 16, "cheap"),
}
GRID = uniform_grid(6)
DUAL_LOOP = {"easy_fraction": 0.7, "inner_steps": 4}


class Published(nn.Module):
    """The published design around the same weights, fp32."""

    def __init__(self, model: PatchDiT, compiled: bool):
        super().__init__()
        self.model, self.patch_size = model, model.patch_size
        self.check_condition, self.drop_condition = model.check_condition, model.drop_condition
        for block in model.blocks:  # no kernels of ours, and what is kept is torch's choice
            block.attn.attend, block.mlp.widen = torchs, plain_linear_gelu
            block.forward = block._run
        if compiled:
            for block in model.blocks:
                block.compile()

    def forward(self, x_t: Tensor, t: pf.PatchTime, condition: Tensor | None) -> pf.ModelOutput:
        """Every token has a condition of its own, whatever the times are."""
        with torch.autocast(x_t.device.type, torch.bfloat16):
            return self.model(x_t, pf.PatchTime.dense(t.to_dense()), condition)


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
            each = 1e3 * timing.median / nfe
            yield row(size, f"{what}, {name}", timing, batch=batch, nfe=nfe, ms_per_nfe=each)


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


def published_step(
    model: PatchDiT, ema: PatchDiT, recipe: Recipe, batch: Batch, compiled: bool
) -> Any:
    """One step as research code takes it."""
    objective = pf.PatchForcingObjective(LinearPath(model.patch_size), recipe.timestep_sampler())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.0)
    published = Published(model, compiled)

    def step() -> None:
        dropped = torch.rand(len(batch.x_1), device=batch.x_1.device) < recipe.label_dropout
        loss = objective(published, batch.x_1, model.drop_condition(batch.condition, dropped))
        loss.total.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            for average, weight in zip(ema.parameters(), model.parameters(), strict=True):
                average.mul_(0.9999).add_(weight, alpha=1 - 0.9999)

    return step


RATIOS = {  # must, aim
    "forward, one time": ("forward, one time, published", "forward, one time, ours", 1.5, 1.8),
    "forward, two times": ("forward, two times, published", "forward, two times, ours", 1.5, 1.8),
    "dual-loop, whole run": ("dual-loop, published", "dual-loop, moving, ours", 2.8, 3.5),
    "training, exact LTG": ("training, LTG, published", "training, LTG, ours", 1.15, 1.3),
    "training, K = 8": ("training, LTG, published", "training, LTG of 8 levels, ours", 1.5, 1.8),
}


def ratios(rows: list[Row]) -> list[Row]:
    """How many times faster, beside what was asked."""
    found = {(row["size"], row["what"]): row for row in rows}
    result = []
    for size in dict.fromkeys(row["size"] for row in rows):
        for what, (before, after, must, aim) in RATIOS.items():
            if (size, before) in found and (size, after) in found:
                times = found[size, before]["ms"] / found[size, after]["ms"]
                result.append(
                    {"size": size, "what": what, "times": times, "must": must, "aim": aim}
                )
        for what in ("dual-loop", "look-ahead"):
            pair = [found.get((size, f"{name}, ours")) for name in (what, "euler")]
            if all(pair):
                times = pair[0]["ms_per_nfe"] / pair[1]["ms_per_nfe"]
                what = f"{what}, an evaluation against Euler's"
                asked = {"must": 1.05, "aim": 1.02}
                result.append({"size": size, "what": what, "times": times, **asked})
    return result


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", default=["B/2", "L/2", "XL/2"])
    parser.add_argument("--parts", nargs="+", default=["sampling", "training"])
    parser.add_argument("--only", nargs="*", choices=STEPS, help="these training steps")
    parser.add_argument("--batch-size", type=int, default=64, help="of forward and sampling")
    parser.add_argument("--train-batch-size", type=int, help="default: B 256, L and XL 128")
    parser.add_argument("--seconds", type=float, default=1.0, help="least time of a repeat")
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    parser.add_argument("--out", type=Path, default=Path("docs/results/speed"), help="folder")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    rate = matrix_rate(options.device, torch.bfloat16)
    print(f"{hardware(options.device)}: {rate / 1e12:.4g} TFLOP/s in one bf16 product", flush=True)
    for size in options.sizes:
        for part in options.parts:
            torch._dynamo.reset()
            measure(size, part, options, rate)


def measure(size: str, part: str, options: argparse.Namespace, rate: float) -> None:
    """One file: written row by row, so that a run cut short leaves what it measured."""
    made = sampling(size, options, rate) if part == "sampling" else training(size, options)
    rows: list[Row] = []
    options.out.mkdir(parents=True, exist_ok=True)
    for one in made:
        rows.append(one)
        more = {k: round(v, 3) for k, v in one.items() if isinstance(v, float)}
        print(f"{size} {one['what']}: {more}", flush=True)
        report = {
            "command": "python -m benchmarks.speed.run",
            "size": size,
            "part": part,
            **origin(options.device),
            "matrix_rate": rate,
            "ratios": ratios(rows),
            "rows": rows,
        }
        file = options.out / f"{size.replace('/', '-')}-{part}.json"
        file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for one in ratios(rows):
        print(f"{one['size']:5} {one['what']}: {one['times']:.2f}, {one['must']} {one['aim']}")


if __name__ == "__main__":
    main()
