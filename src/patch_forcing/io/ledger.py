"""Long jobs are cut into shards, which any number of processes make.

Processes share only a folder, and each takes every world-th shard. So they may run on any
machines and stop at any time. The same job, started again, makes the shards that are missing.
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
    """The folder of a shard (0, 1, …). It is complete with a manifest, or absent."""
    return folder / SHARDS / f"shard-{number:05d}"


@dataclass(frozen=True)
class Ledger:
    """Knows which job a folder holds and which shards of it are finished.

    name: the file in `folder` that holds the plan.
    plan: everything that the shards depend on, as JSON gives it back.
    what: what lies in the folder, in a word for messages.
    option: the option of the command line that named the folder.
    """

    folder: Path
    name: str
    plan: dict[str, Any]
    what: str
    option: str

    def check(self) -> None:
        """Raises UserError if the folder holds another job or other files. Writes nothing."""
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
            change = difference(self.plan, before)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            raise UserError(
                f"{file} is damaged: restore it, or choose another {self.option}"
            ) from None
        if change:
            raise UserError(
                f"{self.folder} holds {self.what} of {change}: use the same to go on, or choose "
                f"another {self.option}"
            )

    def begin(self) -> None:
        """Writes the plan. If several processes begin at once, that of the first holds for all."""
        record = self.plan | {"versions": versions(), "commit": commit()}
        write_once(self.folder / self.name, json.dumps(record, indent=2) + "\n")
        self.check()
        (self.folder / SHARDS).mkdir(exist_ok=True)

    def missing(self, numbers: range) -> list[int]:
        """The shards that are absent or altered. Altered ones are removed."""
        return [number for number in numbers if not self._is_sound(number)]

    def complete(self, count: int) -> bool:
        """Whether all shards from 0 to count − 1 exist."""
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
    """The first entry in which another plan differs, in a few words, or None.

    Raises KeyError if the other plan lacks an entry.
    """
    for name, now in plan.items():
        if before[name] != now:
            return f"{name}={_brief(before[name])}, now it is {_brief(now)}"
    return None


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
