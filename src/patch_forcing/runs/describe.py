"""What a run folder holds, read from its files alone: nothing in it is loaded or changed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patch_forcing.io.run_layout import checkpoints
from patch_forcing.io.run_metrics import read_metrics
from patch_forcing.io.run_record import read_record


@dataclass(frozen=True)
class RunDescription:
    """How far a training got.

    recipe: its name. steps: of how many. metrics: the last line of metrics.jsonl, empty before the
    first. sheet: of the newest samples, if one was drawn. size: bytes of the whole folder.
    """

    recipe: str
    steps: int
    metrics: dict[str, Any]
    checkpoints: list[Path]
    sheet: Path | None
    size: int
    init_from: str | None


def describe_run(run: Path) -> RunDescription:
    """Reads a run folder. Raises UserError if its run.json is damaged."""
    record = read_record(run)
    return RunDescription(
        record.get("name", ""),
        record["recipe"].get("steps", 0),
        next(reversed(read_metrics(run)), {}),
        checkpoints(run),
        max((run / "samples").glob("step-*.png"), default=None),
        folder_size(run),
        record.get("init_from", {}).get("model"),
    )


def folder_size(folder: Path) -> int:
    """Bytes of all files in it."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
