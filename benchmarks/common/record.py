"""Results as files: JSON that says by which command, where and when it was measured."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from patch_forcing.core.errors import UserError
from patch_forcing.io.atomic import write_atomic
from patch_forcing.io.provenance import origin

Row = dict[str, Any]
ROOT = Path(__file__).parents[2]
RESULTS = "docs/results"


def command_of(file: str | Path) -> str:
    """How a user starts the module of that file: `python -m benchmarks.FOLDER.FILE`."""
    module = Path(file).resolve().relative_to(ROOT).with_suffix("")
    return f"python -m {'.'.join(module.parts)}"


def provenance(file: str | Path, device: str) -> Row:
    """The head of a report: command, commit, date, hardware and versions."""
    return {"command": command_of(file), **origin(device)}


def write_json(path: Path, content: object) -> None:
    """The whole file anew, or as it was; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(content, indent=1) + "\n")


def read_json(path: Path, default: Any) -> Any:
    """What the file holds; the default where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else default


def check_kept(path: Path, made: Iterable[str], held: Callable[[Any], Iterable[str]]) -> None:
    """Raises UserError if the file holds results that a run of a part would not make again.

    made: names of the results that the run makes. held: contents of the file → such names.
    """
    lost = sorted(set(held(read_json(path, None))) - set(made)) if path.exists() else []
    if lost:
        raise UserError(
            f"{path} also holds {'; '.join(lost)}, which this run leaves out: choose another --out"
        )


def append_row(path: Path, row: Row) -> None:
    """One more JSON line, whole whoever else appends; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as stream:
        stream.write((json.dumps(row) + "\n").encode())


def read_rows(path: Path) -> list[Row]:
    """JSON lines; none where there is no file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
