"""Guidance by what the input says, against guidance by the label → docs/results/guidance.json.

    python -m benchmarks.guidance.run --cache runs/guidance        # an hour of one core

All kinds of `settings.py` at equal evaluations: Adams–Bashforth on the model's own grid, guided at
t 0.1 … 0.8, bfloat16 within the network. Image i has seed i and class i modulo the classes, so that
a block of images has as many of each class. Settings are chosen on the first blocks: all are
measured there, and the best of each kind by either metric is measured on other blocks, unless it is
worse by that metric than the best by the label. Where --only leaves one of each kind, nothing is
chosen. Differences are paired, against the setting by the label that is best there by the metric.

With --images, the reference is real images in class folders, in features of EfficientNet-Lite0, and
a logistic regression of their features reads the class. Otherwise all is by emoji features.
Features of samples are kept in --cache, so that the same command goes on.
"""

import argparse
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.common.judges import Judge, emoji_judge, features_of, natural_judge
from benchmarks.common.options import command_line
from benchmarks.common.record import Row, provenance, write_json
from benchmarks.guidance.settings import INTERVAL, LABEL, METRICS, Setting, leading, search, value
from patch_forcing.core.errors import unknown_name
from patch_forcing.core.random import CountedGenerator
from patch_forcing.evaluation.estimate import Estimate, critical, mean_estimate, standard_error
from patch_forcing.evaluation.frechet import at_infinity_needs
from patch_forcing.generation.pipeline import Pipeline, load
from patch_forcing.generation.pixels import to_uint8
from patch_forcing.generation.request import SampleRequest
from patch_forcing.sampling.field import VelocityField


@dataclass(frozen=True)
class Bench:
    """A model, what judges its images, and where their features are kept."""

    pipe: Pipeline
    judge: Judge
    block: int
    request: SampleRequest
    cache: Path
    batch_size: int

    @torch.no_grad()
    def vectors(self, setting: Setting, block: int) -> Float[Tensor, "n F"]:
        """Features of a block of images, from the cache if they are there."""
        placing = self.request.time_grid or "own"
        run = f"{self.pipe.hash[:12]}-{self.request.num_steps}-{placing}-{self.block}"
        file = self.cache / run / f"{setting.name}-{block}.npy"
        if not file.exists():
            started = time.perf_counter()
            seeds = range(block * self.block, (block + 1) * self.block)
            size = self.batch_size
            batches = [seeds[first : first + size] for first in range(0, len(seeds), size)]
            parts = [self._sampled(setting, batch) for batch in batches]
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, torch.cat(parts).numpy())
            print(f"{file.stem}: {time.perf_counter() - started:.0f} s", flush=True)
        return torch.from_numpy(np.load(file))

    def _sampled(self, setting: Setting, seeds: range) -> Float[Tensor, "n F"]:
        model = self.pipe.model
        device, config = model.pos_embed.device, model.config
        sampling = self.request.resolve(model)
        labels = torch.tensor([seed % config.num_classes for seed in seeds], device=device)
        noise = CountedGenerator(seeds, device=device).fork("noise")
        guidance = setting.guidance().for_images(seeds, sampling.time_grid, device)
        field = VelocityField(model, labels, guidance)
        x_0 = noise.normal(config.in_channels, *config.image_size)
        x_1 = sampling.sampler(field, x_0, list(sampling.time_grid)).x_1
        images = to_uint8(x_1, model.data_info) / 127.5 - 1
        return features_of(self.judge.network, images, self.batch_size)

    def row(self, setting: Setting, blocks: range) -> tuple[Row, dict[str, Estimate]]:
        """Both metrics of these blocks."""
        vectors = torch.cat([self.vectors(setting, block) for block in blocks])
        asked = torch.arange(blocks.start * self.block, blocks.stop * self.block)
        right = self.judge.read(vectors) == asked % self.pipe.model.config.num_classes
        estimates = {
            "fd": self.judge.distance(vectors),
            "accuracy": mean_estimate(right.double()),
        }
        if len(vectors) >= at_infinity_needs(vectors.shape[1]):
            estimates["fd_infinity"] = self.judge.distance.at_infinity(vectors)
        numbers = {metric: number(*_ends(estimate)) for metric, estimate in estimates.items()}
        row = {"name": setting.name, "group": setting.group, **asdict(setting)}
        return {**row, "images": len(vectors), **numbers}, estimates


def number(value: float, low: float, high: float) -> Row:
    """A value with its interval."""
    return {"value": round(value, 5), "interval": [round(low, 5), round(high, 5)]}


def difference(second: Estimate, first: Estimate) -> Row:
    """The second less the first, of the same seeds and labels."""
    moved = second.deviations - first.deviations
    reach, middle = critical(len(moved)) * standard_error(moved), second.value - first.value
    return number(middle, middle - reach, middle + reach)


def _ends(estimate: Estimate) -> tuple[float, float, float]:
    return (estimate.value, *estimate.interval)


def reported(
    bench: Bench, settings: list[Setting], picks: dict[str, list[str]], blocks: range
) -> list[Row]:
    """Settings on other images, with differences to those by the label that are best there.

    picks: names of settings with the metrics by which they were the best of their group.
    """
    measured = [bench.row(setting, blocks) for setting in settings]
    labels = [(row, estimates) for row, estimates in measured if row["group"] == LABEL]
    base = {
        metric: min(labels, key=lambda pair, metric=metric: value(pair[0], metric))[1][metric]
        for metric in labels[0][1]
    }
    rows = []
    for row, estimates in measured:
        less = {
            f"{metric}_less_label": difference(estimate, base[metric])
            for metric, estimate in estimates.items()
        }
        rows.append({**row, "best_by": picks[row["name"]], **less})
    return rows


def main() -> None:
    """Search, choose, report; write after every row."""
    parser = command_line(__doc__, "weights", out="docs/results/guidance.json")
    parser.add_argument("--cache", type=Path, default=Path("runs/guidance"))
    parser.add_argument("--images", type=Path, help="real images in class folders")
    parser.add_argument("--real", type=int, default=1000, help="of them, as the reference")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--grid", help="placing of steps; default: the model's own")
    parser.add_argument("--block", type=int, default=99, help="images of a block")
    parser.add_argument(
        "--choosing", type=int, default=2, help="blocks that settings are chosen on"
    )
    parser.add_argument("--blocks", type=int, default=4, help="blocks of the report")
    parser.add_argument("--batch-size", type=int, default=33)
    parser.add_argument("--scales", type=float, nargs="+", default=[1.5, 2.0, 3.0])
    parser.add_argument("--only", nargs="+", help="names of settings; default: all")
    parser.add_argument("--also", nargs="+", help="names that are reported though not chosen")
    options = parser.parse_args()
    settings = named(search(options.scales), options.only)
    also = named(search(options.scales), options.also) if options.also else []
    bench = opened(options)
    report: Row = {
        **provenance(__file__, options.device),
        "model": {"name": Path(bench.pipe.name).name, "hash": bench.pipe.hash},
        "steps": options.steps,
        "grid": options.grid,
        "evaluations": evaluations(bench),
        "real": bench.judge.real,
        "choosing": [],
        "rows": [],
    }
    picks = {setting.name: list(METRICS) for setting in settings}
    first = options.choosing
    if len({setting.group for setting in settings}) < len(settings):
        for setting in settings:
            report["choosing"].append(bench.row(setting, range(first))[0])
            write_json(options.out, report)
        picks = leading(report["choosing"])
    picks |= {setting.name: [] for setting in also if setting.name not in picks}
    for block in range(first, first + options.blocks):  # so that all have equal numbers
        reporting = [one for one in search(options.scales) if one.name in picks]
        for setting in reporting:
            bench.vectors(setting, block)
        report["rows"] = reported(bench, reporting, picks, range(first, block + 1))
        write_json(options.out, report)


def opened(options: argparse.Namespace) -> Bench:
    """The model and its judge."""
    pipe = load(options.weights, options.device, precision="bf16")
    size = pipe.model.config.image_size[0]
    judge = (
        emoji_judge(options.device)
        if options.images is None
        else natural_judge(
            options.images, range(options.real), size, options.device, options.batch_size
        )
    )
    request = SampleRequest("adams-bashforth", options.steps, time_grid=options.grid)
    return Bench(pipe, judge, options.block, request, options.cache, options.batch_size)


def named(settings: list[Setting], names: list[str] | None) -> list[Setting]:
    """Those of these names, in their order; all without names. Raises UserError."""
    by_name = {setting.name: setting for setting in settings}
    for name in names or ():
        if name not in by_name:
            raise unknown_name("setting", name, by_name)
    return [by_name[name] for name in names or by_name]


def evaluations(bench: Bench) -> float:
    """Of an image, guidance counted: the same for all settings."""
    guided = replace(bench.request, guidance_scale=2.0, guidance_interval=INTERVAL)
    model = bench.pipe.model
    return guided.resolve(model).evaluations(model.config)


if __name__ == "__main__":
    main()
