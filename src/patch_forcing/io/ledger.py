"""Long jobs cut into shards, which any number of processes make, stop, and go on with.

Processes share no more than a folder: each takes every world-th shard. So they may run on any
machines, at any time, and stop at any time; the same job again makes what is missing.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patch_forcing.core.errors import UserError
from patch_forcing.io.atomic import (
    broken_file,
    is_aside,
    remove_folder,
    remove_leftovers,
    write_once,
)
from patch_forcing.io.provenance import commit, versions

SHARDS = "shards"


def shard_path(folder: Path, number: int) -> Path:
    """Where shard 0, 1, … lies: a folder, complete with a manifest, or absent."""
    return folder / SHARDS / f"shard-{number:05d}"


@dataclass(frozen=True)
class Ledger:
    """Which shards of a job are finished, and what job it is.

    name: the file in `folder` that tells the job. plan: all that its shards depend on, as JSON
    gives it back. what: what lies there, in a word. option: which one named the folder.
    """

    folder: Path
    name: str
    plan: dict[str, Any]
    what: str
    option: str

    def check(self) -> None:
        """Raises UserError if another job, or something else, lies there. Writes nothing."""
        file = self.folder / self.name
        if not file.is_file():
            if self.folder.is_dir() and not all(map(is_aside, self.folder.iterdir())):
                raise UserError(
                    f"{self.folder} is not empty and holds no {self.what}: choose another "
                    f"{self.option}"
                )
            return
        try:
            before = json.loads(file.read_text(encoding="utf-8"))
            told = difference(self.plan, before)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            raise UserError(
                f"{file} is damaged: restore it, or choose another {self.option}"
            ) from None
        if told:
            raise UserError(
                f"{self.folder} holds {self.what} of {told}: use the same to go on, or choose "
                f"another {self.option}"
            )

    def begin(self) -> None:
        """Note the plan; of several processes that begin at once, the first one's holds for all."""
        record = self.plan | {"versions": versions(), "commit": commit()}
        write_once(self.folder / self.name, json.dumps(record, indent=2) + "\n")
        self.check()
        (self.folder / SHARDS).mkdir(exist_ok=True)

    def missing(self, numbers: range) -> list[int]:
        """Which shards are not there, or not as they were written: those are removed."""
        return [number for number in numbers if not self._is_sound(number)]

    def complete(self, count: int) -> bool:
        """Whether shards 0 … count − 1 are all there."""
        return all(shard_path(self.folder, number).is_dir() for number in range(count))

    def _is_sound(self, number: int) -> bool:
        path = shard_path(self.folder, number)
        remove_leftovers(path.parent, path.name)
        if not path.exists():
            return False
        if broken_file(path) is None:
            return True
        remove_folder(path)
        return False


def difference(plan: dict[str, Any], before: dict[str, Any]) -> str | None:
    """The first entry in which another plan differs, in a few words.

    Raises KeyError if it lacks one.
    """
    for name, now in plan.items():
        if before[name] != now:
            return f"{name}={_brief(before[name])}, now it is {_brief(now)}"
    return None


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
