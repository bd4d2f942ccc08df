"""How many images a metric takes to be believed, and what is said of fewer."""

from collections.abc import Mapping
from typing import Any

_DISTANCES = ("fd", "sfid")
"""Gaussians of features: they take as many images as there are features, too."""
_BIASED, _NEIGHBOURLY = 1000, 100
"""Images that metrics with a bias of about 1/n take, and those of nearest neighbours."""
_ENOUGH = {
    **dict.fromkeys((*_DISTANCES, "cmmd", "is"), _BIASED),
    **dict.fromkeys(("precision", "recall", "density", "coverage"), _NEIGHBOURLY),
}
"""Of a metric that is not here, the bias is none and the interval says it all."""


def enough_images(metric: str, features: int) -> int:
    """How many samples, and images of the reference, a metric takes in so many features.

    Below, the bias of a distance is about as large as the distance of a good model. It falls as
    1/n, and no number of images is free of it.
    """
    least = _ENOUGH.get(metric, 0)
    return max(least, features) if metric in _DISTANCES else least


def few_images(record: Mapping[str, Any]) -> str | None:
    """Which metrics of a record of `evaluate` take more images than there are; None if none does.

    Their rows hold `enough`, and that of the Fréchet distance its `bias`.
    """
    parts, others = [], dict[int, list[str]]()
    for result in record["results"]:
        for metric, row in result["metrics"].items():
            enough = row.get("enough")
            if enough is None:
                continue
            if metric not in _DISTANCES:
                names = others.setdefault(enough, [])
                names.extend([metric] * (metric not in names))
                continue
            bias, features = row.get("bias"), result["features"].partition(" ")[0]
            of = "" if bias is None else f" (of {row['value']:.4g}, {_about(bias)} or more is bias)"
            parts.append(f"{metric} of {features} takes {enough:,}{of}")
    parts += [f"{', '.join(names)} {enough:,}" for enough, names in others.items()]
    if not parts:
        return None
    real = record["reference"]
    beside = f" and {real['n']:,} real ones" if real["kind"] == "images" else ""
    return f"{record['n']:,} samples{beside} are few: {'; '.join(parts)}"


def _about(value: float) -> str:
    """Two digits, such as 510 and 0.31."""
    return f"{float(f'{value:.2g}'):,.10g}"
