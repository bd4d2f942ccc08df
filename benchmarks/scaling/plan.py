"""What is measured on a host, in order of worth, and what of it is missing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from benchmarks.common.record import Row
from patch_forcing.distributed.overlap import MAX_PIECES
from patch_forcing.runs.recipes import RECIPES

RECIPE = RECIPES["imagenet256-pft-xl"].recipe
COUNTS = (1, 2, 4, 8)
"""GPUs that are compared, as far as they are there."""
TIMES = {"exact LTG": "ltg", "8 levels": "ltg:levels=8"}
HOW = {  # what each GPU holds; pieces in which gradients are summed beside the backward pass
    "one": ("replicate", 0),
    "DDP": ("replicate", 0),
    "FSDP2": ("shard", 0),
    "DDP, 3 pieces": ("replicate", 3),
    f"DDP, {MAX_PIECES} pieces": ("replicate", MAX_PIECES),
}
LEG_STEPS, LOSS_STEPS = 10, 20
"""Steps of the small run: between changes of its ranks, and compared across counts."""
SHARED = 2048
"""Sampled images are a multiple: each of up to eight processes makes equally many whole shards."""


@dataclass(frozen=True)
class Sizes:
    """How large things are.

    batch: images a GPU and step. whole: of a step whose size is fixed. samples: in an array.
    """

    batch: int = 128
    whole: int = RECIPE.batch_size
    samples: int = 10_240

    @classmethod
    def at_least(cls, samples: int) -> "Sizes":
        """Whole shards for each process."""
        return cls(samples=-(-samples // SHARED) * SHARED)


TOY = Sizes(batch=4, whole=8, samples=32)


@dataclass(frozen=True)
class Task:
    """What becomes one row.

    part: of PARTS in tasks.py. seconds: about, on H200. reference: the row of one GPU that its own
    is held against, and that has to be of the same machine.
    """

    name: str
    part: str
    gpus: int
    seconds: float
    facts: Row = field(default_factory=dict)
    reference: str = ""


def plan(sizes: Sizes, counts: Sequence[int]) -> list[Task]:
    """All tasks for so many GPUs, the worthiest first. counts: from 1 up."""
    several = [*counts[:0:-1]]  # all GPUs first
    exact, levels = TIMES
    tasks = [losses(counts)] if several else []
    tasks += [_killed(how, several[0]) for how in ("DDP", "FSDP2") if several]
    tasks += [_training(sizes, exact, "one", 1)]
    tasks += [_training(sizes, exact, how, n) for how in ("DDP", "FSDP2") for n in several]
    tasks += [_sampling(sizes, n) for n in (1, *several)]
    tasks += [_training(sizes, levels, "one", 1)]
    tasks += [_training(sizes, levels, "DDP", n) for n in several]
    tasks += [Task("recorded step", "recorded step", 2, 180)] if several else []
    tasks += [_training(sizes, levels, "FSDP2", n) for n in several]
    for times in TIMES:
        tasks += [_training(sizes, times, "one", 1, whole=True)]
        tasks += [
            _training(sizes, times, how, n, whole=True) for how in ("DDP", "FSDP2") for n in several
        ]
    pieces = [how for how in HOW if "pieces" in how]
    tasks += [_training(sizes, exact, how, n) for how in pieces for n in several[:1]]
    return list({task.name: task for task in tasks}.values())


def legs(counts: Sequence[int]) -> list[tuple[int, str]]:
    """GPUs and what each holds, in parts of one run: all, two, one; then the same in shards."""
    most = counts[-1]
    wanted = [(most, "replicate"), (2, "replicate"), (1, "replicate")]
    wanted += [(most, "shard"), (2, "shard"), (1, "replicate")]
    return [leg for n, leg in enumerate(wanted) if n == 0 or leg != wanted[n - 1]]


def losses(counts: Sequence[int]) -> Task:
    """The same small run on all counts, and one that goes on with other ranks."""
    seconds = 15.0 * (1 + len(legs(counts)))  # whole runs at once, then leg after leg
    return Task("losses", "losses", counts[-1], seconds, {"counts": [*counts]})


def missing(tasks: Iterable[Task], rows: Iterable[Row], place: str) -> list[Task]:
    """Tasks without a row; and those that missing ones refer to, if measured on another machine.

    rows: of this kind of machine.
    """
    places = {row["name"]: row["place"] for row in rows}
    tasks = list(tasks)
    new = {task.name for task in tasks if task.name not in places}
    references = {task.reference for task in tasks if task.name in new}
    return [
        task
        for task in tasks
        if task.name in new or (task.name in references and places[task.name] != place)
    ]


def _training(sizes: Sizes, times: str, how: str, gpus: int, *, whole: bool = False) -> Task:
    """whole: a step has as many images on any count, a GPU takes its share in parts."""
    share = sizes.whole // gpus if whole else sizes.batch
    parts = max(1, share // sizes.batch)
    facts = {"times": times, "how": how, "batch": share * gpus, "parts": parts}
    seconds = 100.0 if gpus > 1 else 130.0 if parts == 1 else 90.0  # its graph is known by then
    reference = _name(times, "one", 1, *_of_one(sizes, share)) if gpus > 1 else ""
    return Task(_name(times, how, gpus, share, parts), "training", gpus, seconds, facts, reference)


def _of_one(sizes: Sizes, share: int) -> tuple[int, int]:
    """Images and parts of the one GPU that a share of this size is held against."""
    if share == sizes.batch:
        return share, 1
    return sizes.whole, sizes.whole // sizes.batch


def _name(times: str, how: str, gpus: int, share: int, parts: int) -> str:
    return f"training, {times}, {how}, {gpus} × {share}" + (f" in {parts} parts" * (parts > 1))


def _sampling(sizes: Sizes, gpus: int) -> Task:
    def name(count: int) -> str:
        return f"sampling, {sizes.samples:,} images, {count} × GPU"

    seconds = 60 + sizes.samples * 24 / (2100 * gpus)
    reference = name(1) if gpus > 1 else ""
    facts = {"images": sizes.samples}
    return Task(name(gpus), "sampling", gpus, seconds, facts, reference)


def _killed(how: str, gpus: int) -> Task:
    return Task(f"rank killed, {how}", "killed", gpus, 40, {"how": how})
