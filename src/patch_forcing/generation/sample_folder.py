"""A folder of samples: which files are where, and which of those that lie there are our own.

Images lie in the folder itself and nothing else that is an image does, so that tools which read the
folder count them alone. Sheets lie below it.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patch_forcing.core.errors import UserError
from patch_forcing.data.image_kinds import ENDINGS
from patch_forcing.generation.numbers import parse_numbers, write_numbers
from patch_forcing.io.atomic import atomic_file, locked, write_atomic
from patch_forcing.io.lock import in_use, is_in_use
from patch_forcing.io.sample_layout import BEGUN, ROWS, is_sample_row

_SHEETS = "sheets"
_BEFORE = ("sheet.png", "maps.png")
"""Where sheets lay beside the images."""


@dataclass(frozen=True)
class SampleFolder:
    """SEED.png of every seed, samples.json, which lists all, and in sheets/ sheet.png, maps.png and
    film.gif.

    While many images are made, a hidden file lists them in place of samples.json.
    """

    path: Path

    @property
    def sheet(self) -> Path:
        """The first images side by side."""
        return self.path / _SHEETS / "sheet.png"

    @property
    def maps(self) -> Path:
        """The first images with their maps."""
        return self.path / _SHEETS / "maps.png"

    @property
    def film(self) -> Path:
        """The making of the first images."""
        return self.path / _SHEETS / "film.gif"

    @property
    def record(self) -> Path:
        """How each image came about."""
        return self.path / ROWS

    def image(self, seed: int) -> Path:
        """The image of a seed."""
        return self.path / f"{seed}.png"

    def check(self) -> None:
        """Raises UserError unless all images there, and all that is to be replaced, are our own."""
        if not self.path.is_dir():
            return
        with locked(self.path):
            self._check()

    @contextmanager
    def claimed(self, seeds: Sequence[int], job: object = None) -> Iterator[None]:
        """Makes room for these images, which the block writes: what earlier samples left is
        removed.

        job: what the images depend on; several processes with the same one write together, and the
        first makes room. Raises UserError as `check` does, or if another command writes there.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        begun = {"seeds": write_numbers(seeds), "job": _digest(job)}
        with ExitStack() as held:
            with locked(self.path):
                if job is None or self._read(BEGUN) != begun:
                    self._make_room()
                    write_atomic(self.path / BEGUN, json.dumps(begun) + "\n")
                held.enter_context(in_use(self.path / BEGUN))
            yield

    def _make_room(self) -> None:
        if is_in_use(self.path / BEGUN):
            raise UserError(
                f"another command writes samples into {self.path}: wait for it, or choose another "
                "--out"
            )
        self._check()
        for file in self._own():
            file.unlink(missing_ok=True)
        with suppress(OSError):  # it is not there, or others use it
            (self.path / _SHEETS).rmdir()

    def write_rows(self, rows: Iterable[dict[str, object]]) -> None:
        """samples.json: a row a line, of which one at a time is held."""
        with atomic_file(self.record) as aside, aside.open("w", encoding="utf-8") as stream:
            for number, row in enumerate(rows):
                stream.write(f"{',' if number else '['}\n{json.dumps(row)}")
            stream.write("\n]\n")

    def rows(self) -> list[dict[str, Any]]:
        """The rows of samples.json; none if it is not there, or not ours."""
        rows = self._read(ROWS)
        ours = isinstance(rows, list) and all(map(is_sample_row, rows))
        return rows if ours else []

    def finish(self) -> None:
        """All is written."""
        (self.path / BEGUN).unlink(missing_ok=True)

    def _check(self) -> None:
        present = sorted(self.path.iterdir())  # before the lists, which are written before images
        own, sheets = self._own(), self.path / _SHEETS
        replaced = [file for file in present if _is_image(file.name) or file.name == ROWS]
        replaced += [file for file in sorted(self._pictures()) if file.exists()]
        replaced += [sheets] if sheets.exists() and not sheets.is_dir() else []
        for file in replaced:
            if file not in own or file.is_dir():
                raise UserError(
                    f"{file} is there, and no {ROWS} of this command lists it: choose another --out"
                )

    def _own(self) -> set[Path]:
        """What this command wrote, or may have written."""
        begun, rows = self._read(BEGUN), self.rows()
        if not rows and not isinstance(begun, dict):
            return set()
        seeds = {row["seed"] for row in rows}
        if isinstance(begun, dict):
            with suppress(UserError):
                seeds.update(parse_numbers("seeds", str(begun.get("seeds"))))
        loose = {self.path / name for name in (ROWS, BEGUN, *_BEFORE)}
        return {self.image(seed) for seed in seeds} | loose | self._pictures()

    def _pictures(self) -> set[Path]:
        return {self.sheet, self.maps, self.film}

    def _read(self, name: str) -> Any:
        """A file of JSON; None if it is missing or none."""
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None


def _is_image(name: str) -> bool:
    return name.lower().endswith(ENDINGS) and not name.startswith(".")


def _digest(job: object) -> str:
    return hashlib.sha256(json.dumps(job, sort_keys=True).encode()).hexdigest()[:16]
