"""Models to train, each with what is missing of its results; and samples that are measured."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.common.record import Row
from patch_forcing.sampling.guidance import Interval


@dataclass(frozen=True)
class Sampling:
    """One set of samples: a sampler as the registry writes it, a budget, guidance, a grid."""

    sampler: str
    nfe: float
    guidance: float = 1.0
    interval: Interval | None = None
    grid: str = "uniform"


@dataclass(frozen=True)
class Task:
    """A model, a dataclass with the field `name`, and what is missing of its results."""

    model: Any
    samplings: tuple[Sampling, ...]
    wants_difficulty: bool

    def without(self, rows: list[Row]) -> "Task":
        """What these results leave to be done."""
        # what was read back from JSON has lists for tuples
        done = {
            json.dumps([row["model"], row.get("sampling", row["kind"])])
            for row in rows
            if "model" in row
        }

        def lacks(what: object) -> bool:
            return json.dumps([asdict(self.model), what]) not in done

        left = tuple(one for one in self.samplings if lacks(asdict(one)))
        return Task(self.model, left, self.wants_difficulty and lacks("difficulty"))

    @property
    def left(self) -> int:
        """How many results are missing."""
        return len(self.samplings) + self.wants_difficulty


def tasks_of(claims: Iterable[tuple[Any, list[Sampling]]], rows: list[Row]) -> list[Task]:
    """One task for each model that lacks results, in the order in which models are first named.

    claims: models with what is measured of them; an empty list is difficulty.
    """
    tasks: dict[Any, Task] = {}
    for model, samplings in claims:
        before = tasks.get(model, Task(model, (), False))
        together = tuple(dict.fromkeys((*before.samplings, *samplings)))
        tasks[model] = Task(model, together, before.wants_difficulty or not samplings)
    return [task for task in (task.without(rows) for task in tasks.values()) if task.left]
