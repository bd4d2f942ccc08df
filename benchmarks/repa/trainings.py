"""The trainings that are compared: SiT and Patch Forcing, aligned and not."""

import re
from dataclasses import dataclass, fields

from benchmarks.common.record import Row
from benchmarks.emoji.sizes import GROUPED, SIT
from patch_forcing.core.errors import UserError

Curve = dict[int, dict[int, float]]
"""A measure by step and seed."""
METHODS = {"SiT": SIT, "PF": GROUPED}
SAME = ("commit", "hardware", "versions", "atlas", "sampling", "samples", "toy")
"""What all rows of a file have in common."""


@dataclass(frozen=True)
class Training:
    """One of them: times, the weight of alignment (0: none), after which block, a seed."""

    method: str
    weight: float
    depth: int | None
    seed: int

    @property
    def name(self) -> str:
        """Without the seed."""
        where = f" after block {self.depth}" if self.depth else ""
        return self.method + (f" + REPA {self.weight:g}{where}" if self.weight else "")

    @property
    def spec(self) -> str:
        """As the command line has it, without the seed."""
        where = f"@{self.depth}" if self.depth else ""
        return self.method + (f"+{self.weight:g}{where}" if self.weight else "")

    @property
    def folder(self) -> str:
        """Of the run."""
        return f"{self.name}, seed {self.seed}"


def trainings_of(specs: list[str], seeds: list[int]) -> list[Training]:
    """All of a seed before the next seed. Raises UserError."""
    trainings = []
    for seed in seeds:
        for spec in specs:
            form = re.fullmatch(r"(\w+)(?:\+(\d*\.?\d+)(?:@(\d+))?)?", spec)
            if form is None or form[1] not in METHODS or (form[2] and not float(form[2])):
                raise UserError(f"{spec}: write {' or '.join(METHODS)}, +WEIGHT, +WEIGHT@BLOCK")
            trainings.append(
                Training(form[1], float(form[2] or 0), int(form[3] or 0) or None, seed)
            )
    return trainings


def training_of(row: Row) -> Training:
    """Which one a row is of."""
    return Training(*(row[field.name] for field in fields(Training)))


def change(with_it: Curve, without: Curve, step: int) -> list[float]:
    """Percent, of each seed that has both."""
    before = without.get(step, {})
    seeds = [seed for seed in with_it.get(step, {}) if seed in before]
    return [100 * (with_it[step][seed] / before[seed] - 1) for seed in seeds]
