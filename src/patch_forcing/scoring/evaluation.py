"""The result of an evaluation: one record, and how each image moved each metric."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from patch_forcing.core.errors import UserError
from patch_forcing.evaluation.estimate import Estimate
from patch_forcing.io.arrays import array_names, read_array
from patch_forcing.io.atomic import atomic_file, sha256, write_atomic
from patch_forcing.scoring.few_images import few_images

KIND, FORMAT_VERSION = "evaluation", 1
_BESIDE = {"seeds": np.int64, "labels": np.str_, "prompts": np.str_}
"""What the file beside a record says of each image; of prompts, a few digits of a checksum."""


@dataclass(frozen=True)
class Evaluation:
    """A record as JSON has it, and influences by "features/metric" (`evaluation.Estimate`).

    `evaluation["fd"]` is the row of a metric in the first network's features.
    """

    record: Mapping[str, Any]
    influences: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)

    def __getitem__(self, metric: str) -> Mapping[str, Any]:
        for result in self.record["results"]:
            if metric in result["metrics"]:
                row: Mapping[str, Any] = result["metrics"][metric]
                return row
        raise KeyError(metric)

    @property
    def title(self) -> str:
        """What was measured, in a few words."""
        return ", ".join(filter(None, [str(self.record["subject"]["name"]), self.sampled_by]))

    @property
    def sampled_by(self) -> str:
        """How a model's images came about: sampler, evaluations, guidance; "" of other images."""
        sampling = self.record["sampling"]
        if sampling is None:
            return ""
        guided = f", guidance {sampling['guidance']:g}" if sampling["guidance"] != 1 else ""
        if kind := sampling.get("guidance_kind"):
            guided += f" ({kind})"
        nfe = f", {sampling['nfe']:.4g} evaluations" if sampling.get("nfe") else ""
        return f"{sampling['sampler']}{nfe}{guided}"

    def markdown(self) -> str:
        """A table with one row for each network."""
        names = list(dict.fromkeys(m for r in self.record["results"] for m in r["metrics"]))
        head = ["samples", "n", "features", *names]
        rows = [head, ["---"] * len(head)]
        for result in self.record["results"]:
            cells = [_cell(result["metrics"].get(name)) for name in names]
            features = result["features"].partition(" ")[0]
            if tuned := result.get("tuned"):
                features += f", which chose the {' and the '.join(tuned)}"
            rows.append([self.title, str(self.record["n"]), features, *cells])
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)

    @property
    def warning(self) -> str | None:
        """Which metrics take more images than there are, and how many; None if none does."""
        return few_images(self.record)

    def save(self, path: str | Path) -> Path:
        """Writes FILE.json, and beside it FILE.images.npz: what pairs it with others on its seeds.

        Raises UserError for a name that does not end in .json.
        """
        path = Path(path)
        if path.suffix != ".json":
            raise UserError(f"{path}: name a file that ends in .json")
        beside = path.with_suffix(".images.npz")
        arrays: dict[str, Any] = {
            f"influence/{name}": part.astype("f4") for name, part in self.influences.items()
        }
        for name, kind in _BESIDE.items():
            if self.record[f"_{name}"] is not None:
                arrays[name] = np.array(self.record[f"_{name}"], kind)
        with atomic_file(beside) as aside, aside.open("wb") as stream:
            np.savez(stream, **arrays)
        record = self.public | {"images": {"file": beside.name, "sha256": sha256(beside)}}
        write_atomic(path, json.dumps(record, indent=1) + "\n")
        return path

    @property
    def public(self) -> dict[str, Any]:
        """The record without what goes into the file beside it."""
        return {key: value for key, value in self.record.items() if not key.startswith("_")}


def metric_row(name: str, estimate: Estimate, n_reference: int | None) -> dict[str, Any]:
    """A metric as a record has it."""
    return {"name": name, **estimate_row(estimate), "n_reference": n_reference}


def estimate_row(estimate: Estimate) -> dict[str, Any]:
    """An estimate as a record has it."""
    low, high = estimate.interval
    return {
        "value": estimate.value,
        "low": low,
        "high": high,
        "error": estimate.error,
        "n": estimate.count,
        "freedom": estimate.freedom,
    }


def read_evaluation(path: Path) -> Evaluation:
    """What `save` wrote. Without its file beside it, or with another one, no pairs can be made.

    Raises UserError if it is no such record.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): name a record") from None
    except (ValueError, RecursionError):
        record = None
    if not (isinstance(record, dict) and record.get("kind") == KIND):
        raise UserError(
            f"{path} is no record of patch-forcing evaluate MODEL: give what its --out wrote"
        )
    if record.get("format_version") != FORMAT_VERSION:
        raise UserError(
            f"{path} has format {record.get('format_version')}, this is {FORMAT_VERSION}: "
            "evaluate again"
        )
    images = record.get("images") or {}
    beside = path.with_name(Path(str(images.get("file", ""))).name or "nothing")
    arrays: dict[str, np.ndarray] = {}
    if beside.is_file() and sha256(beside) == images.get("sha256"):
        arrays = {name: np.array(read_array(beside, name)) for name in array_names(beside)}
    for name in _BESIDE:
        record[f"_{name}"] = arrays[name].tolist() if name in arrays else None
    prefix = "influence/"
    influences = {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
    return Evaluation(record, influences)


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return ""
    if row["low"] == row["high"]:  # nothing is known of it
        return f"{row['value']:.4g}"
    return f"{row['value']:.4g} ({row['low']:.4g} … {row['high']:.4g})"
