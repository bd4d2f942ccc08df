"""Two evaluations side by side: the difference with its interval, or why there is none."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from patch_forcing.core.errors import UserError
from patch_forcing.evaluation.estimate import NORMAL, critical, standard_error
from patch_forcing.scoring.evaluation import Evaluation, read_evaluation
from patch_forcing.scoring.metric_names import LOWER_IS_BETTER


@dataclass(frozen=True)
class Difference:
    """The second value less the first.

    paired: both were sampled from the same seeds and labels, so that what they share cancels.
    """

    metric: str
    features: str
    first: float
    second: float
    low: float
    high: float
    paired: bool

    @property
    def verdict(self) -> str:
        """Whether it is more than chance, in words."""
        if self.low <= 0 <= self.high:
            return "within chance"
        fewer = self.metric in LOWER_IS_BETTER
        return "better" if (self.second < self.first) == fewer else "worse"

    def markdown(self) -> str:
        """A row of a table."""
        features, paired = self.features.partition(" ")[0], "yes" if self.paired else "no"
        middle = f"{self.second - self.first:+.4g} | {self.low:+.4g} … {self.high:+.4g}"
        return (
            f"| {features} | {self.metric} | {self.first:.4g} | {self.second:.4g} | {middle} | "
            f"{paired} | {self.verdict} |"
        )


def compare(paths: Sequence[Path]) -> str:
    """A table of all records, then each against the first: differences, or why there are none.

    Raises UserError for fewer than two records, or files that are none.
    """
    if len(paths) < 2:
        raise UserError(f"{len(paths)} record to compare: give two or more files of --out")
    evaluations = [read_evaluation(path) for path in paths]
    blocks = [evaluation.markdown() for evaluation in evaluations]
    for path, evaluation in zip(paths[1:], evaluations[1:], strict=True):
        blocks.append(f"{path.name} less {paths[0].name}:")
        reasons = incomparable(evaluations[0].record, evaluation.record)
        if reasons:
            blocks[-1] += f" not comparable: {'; '.join(reasons)}"
            continue
        rows = [
            "| features | metric | first | second | difference | 95 % interval | paired | |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |",
        ]
        rows += [row.markdown() for row in differences(evaluations[0], evaluation)]
        blocks.append("\n".join(rows))
        if why := unpaired(evaluations[0], evaluation):
            blocks.append(f"Not paired: {why}. Equal seeds and labels give narrower intervals.")
    return "\n\n".join(blocks)


def incomparable(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Why numbers of two records say nothing about each other; empty if they do."""
    reasons = []
    for what, get in _RECIPE.items():
        first, second = get(a), get(b)
        if first != second:
            reasons.append(f"other {what} ({_brief(first)}, {_brief(second)})")
    ours, theirs = (
        {row["features"]: (row["resize"], row["reference"]) for row in record["results"]}
        for record in (a, b)
    )
    if not ours.keys() & theirs.keys():
        reasons.append(f"other features ({', '.join(ours)}, {', '.join(theirs)})")
    unlike = [name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name]]
    reasons += [f"other resize or reference of {name.partition(' ')[0]}" for name in unlike]
    return reasons


_RECIPE = {
    "number of images": lambda record: record["n"],
    "size": lambda record: tuple(record["size"]),
    "reference": lambda record: record["reference"]["hash"],
    "number of reference images": lambda record: record["reference"]["n"],
    "resize of the reference": lambda record: record["reference"]["resize"],
}


def differences(a: Evaluation, b: Evaluation) -> Iterator[Difference]:
    """Of every metric that both have in the same features."""
    paired = not unpaired(a, b)
    theirs = {row["features"]: row["metrics"] for row in b.record["results"]}
    for result in a.record["results"]:
        features = result["features"]
        for metric, first in result["metrics"].items():
            second = theirs.get(features, {}).get(metric)
            if second is None:
                continue
            key = f"{features}/{metric}"
            low, high = _independent(first, second)
            together = paired and key in a.influences and key in b.influences
            together = together and bool(first["error"] and second["error"])
            if together:
                moved = b.influences[key].astype(np.float64) - a.influences[key]
                parts = (first.get("freedom") or len(moved) - 1) + 1
                reach = critical(parts) * standard_error(torch.from_numpy(moved))
                middle = second["value"] - first["value"]
                low, high = middle - reach, middle + reach
            yield Difference(metric, features, first["value"], second["value"], low, high, together)


def _independent(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[float, float]:
    """The interval of second − first without pairs.

    If no image moves one of them, the distances from both to the ends of their own intervals are
    taken in place of errors (Newcombe 1998).
    """
    middle = second["value"] - first["value"]
    if first["error"] and second["error"]:
        reach = NORMAL * float(np.hypot(first["error"], second["error"]))
        return middle - reach, middle + reach
    less = np.hypot(second["value"] - second["low"], first["high"] - first["value"])
    more = np.hypot(second["high"] - second["value"], first["value"] - first["low"])
    return middle - float(less), middle + float(more)


def unpaired(a: Evaluation, b: Evaluation) -> str:
    """Why the images of two evaluations are no pairs; empty if they are."""
    if not a.influences or not b.influences:
        return "a record lacks its .images.npz"
    for what, key in (("seeds", "_seeds"), ("labels", "_labels"), ("prompts", "_prompts")):
        first, second = a.record[key], b.record[key]
        if what == "seeds" and (first is None or second is None):
            return "seeds are not known"
        if first != second:
            return f"other {what}"
    return ""


def _brief(value: object) -> str:
    return "none" if value is None else str(value)
