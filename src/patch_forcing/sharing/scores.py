"""Records of `patch-forcing evaluate`, as the Hub's model-index has them."""

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from patch_forcing.core.errors import UserError
from patch_forcing.scoring.evaluation import Evaluation, read_evaluation

if TYPE_CHECKING:
    from huggingface_hub import EvalResult


def read_records(files: Iterable[Path], model: str, model_hash: str) -> list[Evaluation]:
    """The records, each of this very model.

    Raises UserError for a file that is no record, or is one of other images or other weights.
    """
    records = []
    for file in files:
        record = read_evaluation(file)
        other = record.record["subject"].get("model_hash")
        if other != model_hash:
            what = "of images, not of a model" if other is None else f"of another model ({other})"
            raise UserError(
                f"--evaluation {file} is {what}: evaluate {model} itself, which is {model_hash}"
            )
        records.append(record)
    return records


def results(records: Sequence[Evaluation], task: str) -> list["EvalResult"]:
    """One for each metric of each record. What is not finite is left out."""
    from huggingface_hub import EvalResult

    made = []
    for evaluation in records:
        record = evaluation.record
        reference = Path(str(record["reference"]["name"])).name
        for network in record["results"]:
            features = network["features"].partition(" ")[0]
            for metric, row in network["metrics"].items():
                if not math.isfinite(row["value"]):
                    continue
                made.append(
                    EvalResult(
                        task_type=task,
                        dataset_type=re.sub(r"[^\w.-]+", "-", reference).lower(),
                        dataset_name=reference,
                        metric_type="fid" if row["name"] == "FID" else metric,
                        metric_name=f"{row['name']}; features {features}; {evaluation.sampled_by}",
                        metric_value=row["value"],
                        metric_args={
                            "samples": record["n"],
                            "interval_95": [row["low"], row["high"]],
                            "features": network["features"],
                            "reference_hash": record["reference"]["hash"],
                        },
                    )
                )
    return made


def table(records: Sequence[Evaluation]) -> str:
    """The tables of a card, one for each record."""
    parts = []
    for evaluation in records:
        record = evaluation.record
        lines = ["| metric | features | value | 95 % interval |", "| --- | --- | --- | --- |"]
        for network in record["results"]:
            features = network["features"].partition(" ")[0]
            for row in network["metrics"].values():
                cells = (row["name"], features, f"{row['value']:.4g}")
                lines.append(f"| {' | '.join(cells)} | {row['low']:.4g} … {row['high']:.4g} |")
        reference = Path(str(record["reference"]["name"])).name
        head = f"{record['n']:,} samples by {evaluation.sampled_by}, against `{reference}`."
        origin = ", ".join(str(record[key]) for key in ("hardware", "date") if record.get(key))
        parts.append("\n".join([head, "", *lines, "", f"Measured on {origin}."]))
    return "\n\n".join(parts)
