"""How well parts of images are repainted → docs/results/editing.json.

    python -m benchmarks.editing.run --atlas data/emoji       # minutes on a GPU
    python -m benchmarks.editing.run --weights RUN --images cifar10/test --out FILE

Held-out emoji scenes, or with --images pictures in class folders that the model has not seen, are
repainted under their own class, by the ways of `methods.py`, with the same weights, noise and grid,
and so with as many evaluations. Three masks: a box, whose edges cut through patches of 64-pixel
scenes, thin strokes, and a ramp from black to white. Each result is blended with its original over
0 and over 2 pixels, as the command does. Measured are:

- seam: the mean step between neighbouring pixels across the border of what may change, less that of
  the originals at the same places, in units of the data;
- fd: the Fréchet distance of the repainted images to real ones, in emoji features, or in those of
  EfficientNet-Lite0 to --real other pictures of the same folders;
- class: the share that is read as the class of the original.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from benchmarks.common.judges import (
    Judge,
    emoji_judge,
    features_of,
    natural_judge,
    real_images,
)
from benchmarks.common.options import command_line
from benchmarks.common.record import Row, provenance, write_json
from benchmarks.editing.methods import METHODS, Task
from patch_forcing.core.random import CountedGenerator
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.sources import EmojiSource
from patch_forcing.evaluation.estimate import Estimate, mean_estimate
from patch_forcing.generation.editing import feathered
from patch_forcing.generation.pipeline import load
from patch_forcing.generation.pixels import to_uint8
from patch_forcing.models.config import DataInfo
from patch_forcing.models.dit import PatchDiT
from patch_forcing.sampling.edit_field import EditMap, strengths
from patch_forcing.sampling.field import VelocityField
from patch_forcing.sampling.grids import uniform_grid
from patch_forcing.sampling.guidance import ClassifierFreeGuidance

HELD_OUT = 7
"""The seed of scenes that no training draws."""
FEATHERS = (0, 2)
INTERVAL = (0.1, 0.8)


def masks(size: int) -> dict[str, Float[Tensor, "H W"]]:
    """By name, of images of that size."""
    place = (torch.arange(size) + 0.5) / size
    rows, columns = place[:, None], place[None, :]
    box = (rows > 0.31) & (rows < 0.69) & (columns > 0.31) & (columns < 0.69)
    lines = [(rows - columns).abs(), (rows + columns - 1).abs(), (rows - 0.3).abs() + 0 * columns]
    strokes = torch.stack([line < 0.03 for line in lines]).any(dim=0)
    ramp = ((columns - 0.2) / 0.6).clamp(0, 1).expand(size, size)
    return {"box": box.float(), "strokes": strokes.float(), "ramp": ramp.contiguous()}


@dataclass(frozen=True)
class Originals:
    """Images (n, C, H, W) in [−1, 1] with their classes, and what judges them repainted."""

    x_1: Tensor
    labels: Tensor
    judge: Judge


def originals(options: argparse.Namespace, model: PatchDiT) -> Originals:
    """Scenes, or pictures of --images; the judge has seen others."""
    size, count, device = model.config.image_size[0], options.count, options.device
    if options.images is None:
        scenes = EmojiSource(path=str(options.atlas), size=size).open()
        batch = scenes.batch(BatchSpec(0, count, HELD_OUT), device)
        assert batch.condition is not None
        return Originals(batch.x_1, batch.condition, emoji_judge(device))
    x_1, labels = real_images(options.images, range(count), size, device)
    others = range(count, count + options.real)
    judge = natural_judge(options.images, others, size, device, options.batch_size)
    return Originals(x_1, labels.to(device), judge)


def main() -> None:
    """Measure, print, write."""
    parser = command_line(__doc__, "atlas", "weights", out="docs/results/editing.json")
    parser.add_argument("--images", type=Path, help="folders of pictures for each class")
    parser.add_argument("--count", type=int, default=1000, help="of images that are repainted")
    parser.add_argument("--real", type=int, default=9000, help="other pictures that are the goal")
    parser.add_argument("--steps", type=int, default=48)
    parser.add_argument("--guidance", type=float, default=1.0, help="within t 0.1 … 0.8; 1 is none")
    parser.add_argument("--batch-size", type=int, default=250)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    options = parser.parse_args()
    device = options.device
    pipe = load(options.weights, device, precision=options.precision)
    model = pipe.model
    given = originals(options, model)
    rows = [real_row(given)]
    for mask_name, mask in masks(model.config.image_size[0]).items():
        for method in METHODS:
            for row in measured(model, given, mask.to(device), method, options):
                rows.append({"mask": mask_name, "method": method, **row})
                print(rows[-1], flush=True)
    names = ("count", "steps", "guidance", "precision")
    settings = {name: getattr(options, name) for name in names}
    about = {"model": {"name": Path(pipe.name).name, "hash": pipe.hash}, "real": given.judge.real}
    write_json(options.out, {**provenance(__file__, device), **about, **settings, "rows": rows})


@torch.no_grad()
def measured(
    model: PatchDiT,
    given: Originals,
    mask: Float[Tensor, "H W"],
    method: str,
    options: argparse.Namespace,
) -> Iterator[Row]:
    """One row for each width of the blend."""
    steps, guidance, size = options.steps, options.guidance, options.batch_size
    guide = None if guidance == 1 else ClassifierFreeGuidance(guidance, INTERVAL)
    x_1 = given.x_1
    started, parts, nfe = time.perf_counter(), [], 0.0
    for first in range(0, len(x_1), size):
        images = slice(first, min(first + size, len(x_1)))
        task = make_task(x_1[images], mask, range(images.start, images.stop), model, steps)
        field = VelocityField(model, given.labels[images], guide)
        result = METHODS[method](field, task)
        parts.append(result.x_1)
        nfe = result.nfe
    painted = torch.cat(parts)
    if painted.is_cuda:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    for feather in FEATHERS:
        mixed = torch.lerp(x_1, painted, feathered(mask > 0, feather).expand_as(x_1))
        yield {
            "feather": feather,
            "nfe": nfe,
            "seconds_per_image": round(seconds / len(x_1), 5),
            **of_images(mixed, given, size),
            "seam": _number(mean_estimate(seam(mixed, mask > 0) - seam(x_1, mask > 0))),
        }


def make_task(
    x_1: Float[Tensor, "B C H W"],
    mask: Float[Tensor, "H W"],
    seeds: range,
    model: PatchDiT,
    steps: int,
) -> Task:
    """The mask on these images, with the noise of these seeds."""
    patch = model.config.patch_size
    strength, fixed = strengths(mask, 1, patch)
    noise = CountedGenerator(seeds, device=x_1.device).fork("noise").normal(*x_1.shape[1:])
    return Task(
        mask,
        EditMap(x_1, strength, fixed, patch),
        EditMap(x_1, strength, torch.zeros_like(fixed), patch),
        noise,
        uniform_grid(steps),
    )


def real_row(given: Originals) -> Row:
    """The originals, and the size of steps at the borders of the masks in them."""
    borders = {
        name: _number(mean_estimate(seam(given.x_1, mask.to(given.x_1.device) > 0)))
        for name, mask in masks(given.x_1.shape[-1]).items()
    }
    return {"method": "originals", **of_images(given.x_1, given), "steps": borders}


def of_images(x_1: Float[Tensor, "n C H W"], given: Originals, batch_size: int = 250) -> Row:
    """Fréchet distance and the share that is read as its class."""
    judge = given.judge
    pixels = to_uint8(x_1, DataInfo()) / 127.5 - 1  # as in a file
    vectors = features_of(judge.network, pixels.to(x_1.device), batch_size)
    right = (judge.read(vectors) == given.labels.cpu()).double()
    return {"fd": _number(judge.distance(vectors)), "class": _number(mean_estimate(right))}


def seam(x: Float[Tensor, "n C H W"], changes: Bool[Tensor, "H W"]) -> Float[Tensor, " n"]:
    """The mean over the border of changes of the RMS step of the channels across it."""
    steps = []
    for dim in (-1, -2):
        across = changes.diff(dim=dim)
        step = x.diff(dim=dim).square().mean(dim=1).sqrt()
        steps.append(step[:, across])
    return torch.cat(steps, dim=1).mean(dim=1)


def _number(estimate: Estimate) -> Row:
    low, high = estimate.interval
    return {"value": round(estimate.value, 5), "interval": [round(low, 5), round(high, 5)]}


if __name__ == "__main__":
    main()
