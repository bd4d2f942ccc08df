"""The metrics of one network's features of samples, as far as the reference allows."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from jaxtyping import Float
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.evaluation.bias import frechet_bias
from patch_forcing.evaluation.estimate import Estimate
from patch_forcing.evaluation.frechet import FrechetDistance, at_infinity_needs
from patch_forcing.evaluation.inception_score import inception_score
from patch_forcing.evaluation.kernel import clip_distance, kernel_distance
from patch_forcing.evaluation.neighbours import coverage, density, precision, recall
from patch_forcing.evaluation.text_fit import clip_score
from patch_forcing.features.names import CLIP, INCEPTION
from patch_forcing.features.network import ClassNetwork, FeatureNetwork, TextNetwork
from patch_forcing.features.statistics import FeatureStatistics
from patch_forcing.scoring.few_images import enough_images
from patch_forcing.scoring.metric_names import check_metrics

LEAST = 2
"""Images of a side that any metric takes."""
NEEDED = {"precision": (LEAST, 4), "recall": (16, 4), "density": (LEAST, 6), "coverage": (LEAST, 6)}
"""Samples and images of the reference that these take."""


@dataclass(frozen=True)
class Side:
    """Features of one set: vectors, moments and places as far as they are known."""

    vectors: Float[Tensor, "n F"] | None = None
    statistics: FeatureStatistics | None = None
    places: FeatureStatistics | None = None
    labels: tuple[str, ...] | None = None

    @cached_property
    def distance(self) -> FrechetDistance:
        """To its moments."""
        assert self.statistics is not None
        return FrechetDistance(self.statistics)


@dataclass
class Measured:
    """Metrics of one network.

    left_out: why a metric is not there. by_class: rows of the worst class first. enough: how many
    images a metric takes, where there are fewer. bias: of the Fréchet distance, if they are few.
    """

    estimates: dict[str, Estimate] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    by_class: list[dict[str, Any]] = field(default_factory=list)
    enough: dict[str, int] = field(default_factory=dict)
    bias: float | None = None


def measure_vectors(
    network: FeatureNetwork, sampled: Float[Tensor, "n F"], real: Side, *metrics: str
) -> dict[str, Estimate]:
    """Metrics of features that are at hand, as `patch-forcing evaluate` measures them.

    Raises UserError for a metric that cannot be had.
    """
    check_metrics(metrics)
    measured = Measuring(network, sampled, None, None, None, real).measure(metrics, chosen=True)
    for metric, reason in measured.left_out.items():
        raise UserError(f"{metric} cannot be measured: {reason}")
    return measured.estimates


@dataclass(frozen=True)
class Measuring:
    """Samples against a reference, in the features of one network."""

    network: FeatureNetwork
    sampled: Float[Tensor, "n F"]
    places: Float[Tensor, "n G"] | None
    labels: tuple[str, ...] | None
    prompts: tuple[str, ...] | None
    real: Side

    def measure(self, metrics: Sequence[str], chosen: bool) -> Measured:
        """These metrics. chosen: the user named them, so that too few images are an error."""
        measured, ways = Measured(), self._ways
        for name in metrics:
            reason = self._lacking(name)
            if not reason and (few := self._too_few(name)):
                if chosen:
                    raise UserError(f"{name}: {few}")
                reason = few
            if reason:
                measured.left_out[name] = reason
            elif name == "fd-by-class":
                measured.by_class = self._by_class()
            else:
                measured.estimates[name] = ways[name]()
        measured.enough = self._enough(measured.estimates)
        if "fd" in measured.enough:
            measured.bias = self._bias()
        return measured

    def _enough(self, metrics: Iterable[str]) -> dict[str, int]:
        """Metrics that take more images than there are, and how many."""
        real = self.real.vectors
        there = len(self.sampled) if real is None else min(len(self.sampled), len(real))
        takes = {name: enough_images(name, self.sampled.shape[1]) for name in metrics}
        return {name: enough for name, enough in takes.items() if there < enough}

    def _bias(self) -> float | None:
        """Of the Fréchet distance; None where a set has no halves."""
        real = self.real.vectors
        if min(len(self.sampled), len(self.sampled if real is None else real)) < 4:
            return None
        side = self.real.statistics if real is None else real
        return None if side is None else frechet_bias(self.sampled, side)

    @property
    def _ways(self) -> dict[str, Callable[[], Estimate]]:
        sampled = self.sampled
        real = self.real.vectors if self.real.vectors is not None else sampled[:0]

        def by_places() -> Estimate:
            assert self.real.places is not None and self.places is not None
            return FrechetDistance(self.real.places)(self.places)

        def by_classes() -> Estimate:
            assert isinstance(self.network, ClassNetwork)
            return inception_score(self.network.probabilities(sampled).cpu())

        def by_texts() -> Estimate:
            assert isinstance(self.network, TextNetwork) and self.prompts is not None
            return clip_score(sampled, self.network.texts(self.prompts))

        return {
            "fd": lambda: self.real.distance(sampled),
            "fd-infinity": lambda: self.real.distance.at_infinity(sampled),
            "sfid": by_places,
            "is": by_classes,
            "kid": lambda: kernel_distance(real, sampled),
            "cmmd": lambda: clip_distance(real, sampled),
            "clip-score": by_texts,
            "precision": lambda: precision(real, sampled),
            "recall": lambda: recall(real, sampled),
            "density": lambda: density(real, sampled),
            "coverage": lambda: coverage(real, sampled),
        }

    def _lacking(self, name: str) -> str:
        """What the metric would need; empty if all is there."""
        if name == "is":
            has_classes = isinstance(self.network, ClassNetwork)
            return "" if has_classes else "this network tells no classes"
        if name == "sfid":
            if self.places is None:
                return f"this network has no map for it: --features {INCEPTION}"
            return "" if self.real.places is not None else "the reference has no such statistics"
        if name in ("clip-score", "cmmd") and not isinstance(self.network, TextNetwork):
            return f"this network sees no texts: --features {', '.join(CLIP)}, or a folder of CLIP"
        if name == "clip-score":
            return "" if self.prompts is not None else "the samples have no prompts"
        if name in ("fd", "fd-infinity"):
            known = self.real.statistics is not None
            return "" if known else "the reference's statistics are of another network"
        if self.real.vectors is None:
            return "the reference holds statistics, and this takes its images"
        if name == "fd-by-class":
            if self.labels is None:
                return "the samples have no labels"
            return "" if self.real.labels is not None else "the reference has no labels"
        return ""

    def _too_few(self, name: str) -> str:
        """How many images are needed; empty if there are enough."""
        real = None if self.real.vectors is None else len(self.real.vectors)
        least = at_infinity_needs(self.sampled.shape[1]) if name == "fd-infinity" else None
        return _too_few(name, len(self.sampled), real, least)

    def _by_class(self) -> list[dict[str, Any]]:
        """The distance of each class, the worst first. Raises UserError if one is missing."""
        assert self.labels is not None
        assert self.real.labels is not None
        assert self.real.vectors is not None
        rows = []
        ours, theirs = _by_label(self.labels), _by_label(self.real.labels)
        for name in sorted(ours.keys() | theirs.keys()):
            counts = [len(side.get(name, ())) for side in (ours, theirs)]
            if min(counts) < LEAST:
                raise UserError(
                    f"fd-by-class: class {name!r} has {counts[0]} samples and {counts[1]} real "
                    f"images, {LEAST} of each are needed: add the class, or leave this metric out"
                )
            real = FeatureStatistics.of(self.real.vectors[theirs[name]])
            estimate = FrechetDistance(real)(self.sampled[ours[name]])
            low, high = estimate.interval
            rows.append({
                "class": name, "fd": estimate.value, "low": low, "high": high,
                "n": counts[0], "n_reference": counts[1],
            })  # fmt: skip
        return sorted(rows, key=lambda row: -row["fd"])


def check_counts(metrics: Sequence[str], sampled: int, real: int | None) -> None:
    """Raises UserError for a metric that takes more images, so far as it is known before any."""
    for name in metrics:
        if few := _too_few(name, sampled, real):
            raise UserError(f"{name}: {few}: raise --count, or leave it out")


def _too_few(name: str, sampled: int, real: int | None, least: int | None = None) -> str:
    needed, needed_real = NEEDED.get(name, (LEAST, LEAST))
    needed = least or needed
    if sampled < needed:
        return f"{sampled} samples are too few, {needed} are needed"
    if real is not None and real < needed_real and name not in ("is", "clip-score"):
        return f"{real} images of the reference are too few, {needed_real} are needed"
    return ""


def _by_label(labels: Sequence[str]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for place, label in enumerate(labels):
        places.setdefault(label, []).append(place)
    return places
