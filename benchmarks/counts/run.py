"""How many discs? Which times of training teach a layout → docs/results/counts.jsonl.

    python -m benchmarks.counts.run --work runs/counts      # an hour of two cores

Grey images of 64×64 hold one to four white discs, each in a quarter of its own; their number is the
class. A small network is trained on them with several distributions of times, all else alike, and
its samples are counted: a disc is a bright area of at least a third of the smallest one. What is
there is decided at early times, and what is learnt there shows at t = 0, where the best prediction
of x_1 is the mean image of the class, and nothing else can be known.

Results that are there stay: the same command goes on. Give --seeds 0 1 2, one process for each with
its own --out, to use several cores.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from scipy import ndimage
from torch import Tensor

from benchmarks.common.options import command_line
from benchmarks.common.record import Row, append_row, provenance, read_rows
from patch_forcing.core.time import PatchTime
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.sources import FolderSource
from patch_forcing.generation.pipeline import Pipeline, load
from patch_forcing.runs.recipe import Network
from patch_forcing.runs.recipes import RECIPES
from patch_forcing.runs.trainer import train
from patch_forcing.training.options import OptimizerConfig

SIZE, MOST, OF_EACH = 64, 4, 2000
RADII = (7.0, 11.0)
TIMES = (
    "ltg:levels=8",
    "ltg:levels=8,loc=-0.3",
    "ltg:levels=8,loc=-0.3,scale=1.5",
    "shared-logit-normal",
    "shared-uniform",
)
GRIDS = ("uniform", "shifted:shift=3")
EARLY = (0.0, 0.05, 0.1, 0.2)
"""Times at which the error is looked at."""
LOOKED_AT = 400


def discs(count: int, generator: np.random.Generator) -> Float[np.ndarray, "S S"]:
    """So many discs, 0 … 1, with soft edges."""
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    image = np.zeros((SIZE, SIZE))
    half = SIZE // 2
    for quarter in generator.permutation(4)[:count]:
        radius = generator.uniform(*RADII)
        across, down = half * np.array(divmod(quarter, 2)) + generator.uniform(
            radius + 1, half - 1 - radius, 2
        )
        distance = np.hypot(columns - across, rows - down)
        image = np.maximum(image, np.clip(radius + 0.5 - distance, 0, 1))
    return image


def counted(image: Float[np.ndarray, "S S"]) -> int:
    """The discs in an image, 0 … 1."""
    areas, count = ndimage.label(image > 0.5)
    sizes = ndimage.sum_labels(image > 0.5, areas, range(1, count + 1))
    return int((np.array(sizes) > np.pi * RADII[0] ** 2 / 3).sum())


def draw(folder: Path) -> None:
    """The images, a folder for each number, unless they are there."""
    generator = np.random.default_rng(0)
    for count in range(1, MOST + 1):
        place = folder / f"{count} discs"
        place.mkdir(parents=True, exist_ok=True)
        for number in range(OF_EACH):
            pixels = (255 * discs(count, generator)).round().astype(np.uint8)
            if not (file := place / f"{number}.png").exists():
                Image.fromarray(pixels).save(file)


def trained(
    times: str, seed: int, source: FolderSource, work: Path, steps: int, device: str
) -> Path:
    """The run."""
    run = work / f"{times.translate(str.maketrans(':=,', '---'))}-{seed}"
    recipe = replace(
        RECIPES["folder"].recipe,
        data=source,
        network=Network(patch_size=8, hidden_size=96, depth=4, num_heads=3),
        optimizer=OptimizerConfig(lr=2e-3, warmup_steps=100, betas=(0.9, 0.99)),
        timesteps=times,
        steps=steps,
        seed=seed,
        checkpoint_every=min(steps, 1000),
        sample_every=0,
        snapshot_every=0,
    )
    train("counts", recipe, run, device=device, progress=False)
    return run


def right(pipe: Pipeline, grid: str, samples: int) -> Row:
    """The share of samples with as many discs as their class says, and half its 95 % interval."""
    labels = [number % MOST for number in range(samples)]
    result = pipe(
        labels,
        range(samples),
        sampler="adams-bashforth",
        num_steps=24,
        time_grid=grid,
        guidance_scale=1.0,
        batch_size=100,
    )
    images = (np.asarray(image.convert("L")) / 255 for image in result.images)
    share = sum(counted(x) == k + 1 for x, k in zip(images, labels, strict=True)) / samples
    return {"share": share, "width": 1.96 * (share * (1 - share) / samples) ** 0.5}


@torch.no_grad()
def errors(pipe: Pipeline, source: FolderSource) -> Row:
    """Squared errors of x_1, with one time for all patches, and of the mean image of the class."""
    data = source.open()
    whole = data.batch(BatchSpec(0, MOST * OF_EACH, 1))
    assert whole.condition is not None
    means = torch.stack([whole.x_1[whole.condition == number].mean(0) for number in range(MOST)])
    x_1, labels = whole.x_1[:LOOKED_AT], whole.condition[:LOOKED_AT]
    x_0 = torch.randn(x_1.shape, generator=torch.Generator().manual_seed(1))
    patches = (SIZE // 8) ** 2

    def error(t: float) -> float:
        x_t = t * x_1 + (1 - t) * x_0
        time = PatchTime.shared(torch.full((len(x_1),), t), patches)
        v: Tensor = pipe.model(x_t, time, labels).velocity
        return float((x_t + (1 - t) * v - x_1).square().mean())

    early = {str(t): round(error(t), 4) for t in EARLY}
    return {"errors": early, "mean_image": round(float((means[labels] - x_1).square().mean()), 4)}


def main() -> None:
    """Draw, train, count, append."""
    parser = command_line(__doc__, out="docs/results/counts.jsonl")
    parser.add_argument("--work", type=Path, default=Path("runs/counts"))
    parser.add_argument("--times", nargs="+", default=TIMES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--samples", type=int, default=400)
    options = parser.parse_args()
    draw(options.work / "discs")
    source = FolderSource(
        str(options.work / "discs"), size=SIZE, channels=1, flip=False, held_out=0.0
    )
    done = [(row["times"], row["seed"], row["steps"]) for row in read_rows(options.out)]
    for seed in options.seeds:
        for times in options.times:
            if (times, seed, options.steps) in done:
                continue
            run = trained(times, seed, source, options.work, options.steps, options.device)
            pipe = load(run, options.device)
            row = {"times": times, "seed": seed, "steps": options.steps}
            row["samples"] = options.samples
            row["right"] = {grid: right(pipe, grid, options.samples) for grid in GRIDS}
            row |= {**errors(pipe, source), **provenance(__file__, options.device)}
            append_row(options.out, row)
            print({key: row[key] for key in ("times", "seed", "right", "errors")}, flush=True)


if __name__ == "__main__":
    main()
