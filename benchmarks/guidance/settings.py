"""What is compared: settings of each kind of guidance, and which of them go on."""

from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.common.record import Row
from benchmarks.guidance.kinds import Context, Lie, Tilted
from patch_forcing.sampling.guidance import ClassifierFreeGuidance, Guidance, Interval
from patch_forcing.sampling.noisier import NoisierGuidance

INTERVAL: Interval = (0.1, 0.8)
BY_INPUT = {"context": Context, "both": NoisierGuidance, "lie": Lie}
LABEL, TILT, HALVES = "label", "tilt", "halves"
"""The last: by the label, but in half of the patches a step, as context is without its noise."""
METRICS = ("fd", "accuracy")


@dataclass(frozen=True)
class Setting:
    """A kind of guidance with its numbers.

    drop: the weak evaluation has no label. ratio: of kinds by the input. tilt: of that kind.
    """

    kind: str
    scale: float
    ratio: float = 1.0
    drop: bool = True
    tilt: float = 0.0

    @property
    def group(self) -> str:
        """Settings among which one is chosen."""
        if self.kind in BY_INPUT and self.ratio == 1:
            return HALVES
        return self.kind if self.drop else f"{self.kind}, label kept"

    @property
    def name(self) -> str:
        """As files and the command call it: KIND[_keep]_SCALE[_NUMBER]."""
        words = [self.kind, *([] if self.drop else ["keep"]), f"{self.scale:g}"]
        if self.kind in BY_INPUT:
            words.append(f"{self.ratio:g}")
        if self.kind == TILT:
            words.append(f"{self.tilt:+g}")
        return "_".join(words)

    def guidance(self) -> Guidance:
        """For any images."""
        if self.kind == LABEL:
            return ClassifierFreeGuidance(self.scale, INTERVAL)
        if self.kind == TILT:
            return Tilted(self.scale, INTERVAL, tilt=self.tilt)
        kind = BY_INPUT[self.kind]
        return kind(self.scale, INTERVAL, ratio=self.ratio, keep_condition=not self.drop)


def search(scales: Iterable[float]) -> list[Setting]:
    """All settings, guidance by the label first."""
    scales = list(scales)
    rows = [Setting(LABEL, scale) for scale in scales]
    rows += [Setting(kind, 2.0, 0.5, drop=False) for kind in BY_INPUT]
    rows += [Setting(TILT, scale, tilt=tilt) for tilt in (0.5, -0.5) for scale in scales]
    for ratio in (0.5, 0.8):
        rows += [Setting(kind, scale, ratio) for kind in BY_INPUT for scale in scales]
    return [*rows, *(Setting("context", scale) for scale in scales)]


def value(row: Row, metric: str) -> float:
    """Of a metric, less where it is better."""
    number: float = row[metric]["value"]
    return -number if metric == "accuracy" else number


def best(rows: Iterable[Row], metric: str) -> Row:
    """The best row by that metric; of equal ones the first."""
    return min(rows, key=lambda row: value(row, metric))


def leading(rows: list[Row]) -> dict[str, list[str]]:
    """Names of the best of each group, with the metrics by which they are.

    Left out is what is worse, by that metric, than the best guidance by the label.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["group"], []).append(row)
    picks: dict[str, list[str]] = {}
    for metric in METRICS:
        reached = value(best(groups[LABEL], metric), metric)
        for own in groups.values():
            row = best(own, metric)
            if value(row, metric) <= reached:
                picks.setdefault(row["name"], []).append(metric)
    return picks
