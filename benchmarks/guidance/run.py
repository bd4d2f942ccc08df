"""Guidance by what the input says, against guidance by the label → docs/results/guidance.json.

    python -m benchmarks.guidance.run --cache runs/guidance        # an hour of one core

All kinds of `settings.py` at equal evaluations: Adams–Bashforth on the model's own grid, guided at
t 0.1 … 0.8. Image i has seed i and class i modulo the classes, so that a block of images has as many
of each class. Settings are chosen on the first blocks: all are measured on block 0, the best of each
kind by either metric on block 1 too, and those that are best on both are measured on other blocks.
Differences are paired, against the best guidance by the label.

With --images, the reference is real images in class folders, in features of EfficientNet-Lite0, and
a logistic regression of their features reads the class. Otherwise all is by emoji features.
Features of samples are kept in --cache, so that the same command goes on.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from benchmarks.common.options import command_line
from benchmarks.common.record import Row, provenance, write_json
from benchmarks.guidance.kinds import Draws
from benchmarks.guidance.settings import INTERVAL, LABEL, Setting, best, leading, search
from patch_forcing.core.random import CountedGenerator
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.sources import FolderSource
from patch_forcing.evaluation.estimate import Estimate, critical, mean_estimate, standard_error
from patch_forcing.evaluation.frechet import FrechetDistance
from patch_forcing.features.classifiers import efficientnet_lite0
from patch_forcing.features.emoji import load_emoji_features
from patch_forcing.features.network import FeatureNetwork
from patch_forcing.features.statistics import FeatureStatistics
from patch_forcing.generation.pipeline import Pipeline, load
from patch_forcing.generation.pixels import to_uint8
from patch_forcing.generation.request import SampleRequest
from patch_forcing.sampling.field import VelocityField

METRICS = ("fd", "accuracy")
BATCH = 33
FEATURE_BATCH = 16


@dataclass(frozen=True)
class Judge:
    """What measures images. read: features → classes. real: facts of real images."""

    network: FeatureNetwork
    distance: FrechetDistance
    read: Callable[[Float[Tensor, "n F"]], Int64[Tensor, " n"]]
    real: Row


@dataclass(frozen=True)
class Bench:
    """A model, what judges its images, and where their features are kept."""

    pipe: Pipeline
    judge: Judge
    block: int
    steps: int
    cache: Path

    @torch.no_grad()
    def vectors(self, setting: Setting, block: int) -> Float[Tensor, "n F"]:
        """Features of a block of images, from the cache if they are there."""
        file = self.cache / f"{self.pipe.hash[:12]}-{setting.name}-{block}.npy"
        if not file.exists():
            started, seeds = time.perf_counter(), range(block * self.block, (block + 1) * self.block)
            parts = [self._sampled(setting, seeds[first : first + BATCH])
                     for first in range(0, len(seeds), BATCH)]  # fmt: skip
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, torch.cat(parts).numpy())
            print(f"{file.stem}: {time.perf_counter() - started:.0f} s", flush=True)
        return torch.from_numpy(np.load(file))

    def _sampled(self, setting: Setting, seeds: range) -> Float[Tensor, "n F"]:
        model = self.pipe.model
        device, config = model.pos_embed.device, model.config
        sampling = SampleRequest("adams-bashforth", self.steps).resolve(model)
        labels = torch.tensor([seed % config.num_classes for seed in seeds], device=device)
        noise = CountedGenerator(seeds, device=device).fork("noise")
        guidance = setting.guidance(Draws(tuple(seeds), sampling.time_grid))
        field = VelocityField(model, labels, guidance)
        x_0 = noise.normal(config.in_channels, *config.image_size)
        x_1 = sampling.sampler(field, x_0, list(sampling.time_grid)).x_1
        return features_of(self.judge.network, to_uint8(x_1, model.data_info) / 127.5 - 1)

    def row(self, setting: Setting, blocks: range) -> tuple[Row, dict[str, Estimate]]:
        """Both metrics of these blocks."""
        vectors = torch.cat([self.vectors(setting, block) for block in blocks])
        asked = torch.arange(blocks.start * self.block, blocks.stop * self.block)
        right = self.judge.read(vectors) == asked % self.pipe.model.config.num_classes
        estimates = {
            "fd": self.judge.distance(vectors),
            "accuracy": mean_estimate(right.double()),
        }
        numbers = {metric: number(*_ends(estimate)) for metric, estimate in estimates.items()}
        row = {"name": setting.name, "group": setting.group, **asdict(setting)}
        return {**row, "images": len(vectors), **numbers}, estimates


def features_of(network: FeatureNetwork, images: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "n F"]:
    """On the CPU, few at once."""
    return torch.cat([network.features(part).cpu() for part in images.split(FEATURE_BATCH)]).float()


def emoji_judge(device: str) -> Judge:
    """The bundled feature network with its statistics of real scenes."""
    network = load_emoji_features(device=device)

    def read(vectors: Tensor) -> Tensor:
        drawings = network.probabilities(vectors.to(device)).argmax(1).cpu()
        return network.classes.cpu()[drawings]

    distance = FrechetDistance(network.reference)
    return Judge(network, distance, read, {"features": network.name})


def natural_judge(folder: Path, count: int, size: int, device: str) -> Judge:
    """Real images as the network sees them: moments of their features, and what reads a class."""
    network = efficientnet_lite0().to(device)
    source = FolderSource(path=str(folder), size=size, channels=3, flip=False, held_out=0.0)
    batch = source.open().batch(BatchSpec(0, count, 0), torch.device(device))
    assert batch.condition is not None
    vectors, labels = features_of(network, batch.x_1), batch.condition.cpu().numpy()
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    known = float(cross_val_score(classifier, vectors.numpy(), labels, cv=3).mean())
    classifier.fit(vectors.numpy(), labels)
    real = {"features": network.name, "reference": count, "accuracy_on_real": known}
    return Judge(
        network,
        FrechetDistance(FeatureStatistics.of(vectors)),
        lambda features: torch.from_numpy(classifier.predict(features.numpy())),
        real,
    )


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


def searched(bench: Bench, settings: list[Setting]) -> tuple[list[Row], list[Row]]:
    """All settings on block 0, and the best of them on blocks 0 and 1."""
    by_name = {setting.name: setting for setting in settings}
    first = [bench.row(setting, range(1))[0] for setting in settings]
    second = [bench.row(by_name[row["name"]], range(2))[0] for row in leading(first)]
    return first, second


def reported(bench: Bench, settings: list[Setting], chosen: list[Row], blocks: range) -> list[Row]:
    """The best settings of each group on other images, and differences to guidance by the label."""
    by_name = {setting.name: setting for setting in settings}
    picks: dict[str, list[str]] = {}
    for group in dict.fromkeys(row["group"] for row in chosen):
        own = [row for row in chosen if row["group"] == group]
        for metric in METRICS:
            picks.setdefault(best(own, metric)["name"], []).append(metric)
    for block in blocks:  # so that an end before the last leaves blocks of all settings
        for name in picks:
            bench.vectors(by_name[name], block)
    measured = {name: bench.row(by_name[name], blocks) for name in picks}
    base = {
        metric: next(measured[name][1][metric] for name, metrics in picks.items()
                     if by_name[name].group == LABEL and metric in metrics)
        for metric in METRICS
    }  # fmt: skip
    rows = []
    for name, (row, estimates) in measured.items():
        less = {f"{metric}_less_label": difference(estimates[metric], base[metric])
                for metric in METRICS}  # fmt: skip
        rows.append({**row, "best_by": picks[name], **less})
    return rows


def main() -> None:
    """Search, choose, report, write."""
    parser = command_line(__doc__, "weights", out="docs/results/guidance.json")
    parser.add_argument("--cache", type=Path, default=Path("runs/guidance"))
    parser.add_argument("--images", type=Path, help="real images in class folders")
    parser.add_argument("--real", type=int, default=1000, help="of them, as the reference")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--block", type=int, default=99, help="images of a block")
    parser.add_argument("--blocks", type=int, default=4, help="blocks of the report")
    parser.add_argument("--scales", type=float, nargs="+", default=[1.5, 2.0, 3.0])
    parser.add_argument("--only", nargs="+", help="kinds; default: all")
    options = parser.parse_args()
    report = measured(options)
    write_json(options.out, report)


def measured(options: argparse.Namespace) -> Row:
    """The report of a model."""
    pipe = load(options.weights, options.device, precision="bf16")
    size = pipe.model.config.image_size[0]
    judge = (
        emoji_judge(options.device)
        if options.images is None
        else natural_judge(options.images, options.real, size, options.device)
    )
    bench = Bench(pipe, judge, options.block, options.steps, options.cache)
    settings = [one for one in search(options.scales) if not options.only or one.kind in options.only]
    first, second = searched(bench, settings)
    blocks = range(2, 2 + options.blocks)
    return {
        **provenance(__file__, options.device),
        "model": {"name": pipe.name, "hash": pipe.hash},
        "steps": options.steps,
        "evaluations": evaluations(bench, settings[0]),
        "real": judge.real,
        "first": first,
        "second": second,
        "rows": reported(bench, settings, second, blocks),
    }


def evaluations(bench: Bench, setting: Setting) -> float:
    """Of an image, guidance counted: the same for all settings."""
    model = bench.pipe.model
    guided = SampleRequest(
        "adams-bashforth", bench.steps, guidance_scale=setting.scale, guidance_interval=INTERVAL
    )
    return guided.resolve(model).evaluations(model.config)


if __name__ == "__main__":
    main()
