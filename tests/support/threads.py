"""Ranks that are threads of this process: two train together without a start of processes."""

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import Queue
from typing import Any, TypeVar

import torch
from torch import Tensor

from patch_forcing.distributed.ranks import LostRanksError, Ranks

T = TypeVar("T")
_LIMIT = 60
"""Seconds for which a rank waits for another one."""


class Table:
    """Where ranks lay down what the others see. One of them works at a time, since torch has one
    random state for all threads.
    """

    def __init__(self, world: int):
        self.turn = threading.Lock()
        self._ways = {(a, b): Queue[Any]() for a in range(world) for b in range(world)}
        self._world = world

    def exchange(self, rank: int, value: T) -> list[T]:
        """What all have, once they have come here. Raises LostRanksError if one never will."""
        self._send(rank, (value,))
        self.turn.release()
        try:
            got = [self._ways[other, rank].get(timeout=_LIMIT) for other in range(self._world)]
        finally:
            self.turn.acquire()
        if () in got:
            raise LostRanksError(f"rank {rank} lost rank {got.index(())}")
        return [one for (one,) in got]

    def leave(self, rank: int) -> None:
        """None need wait for it."""
        self._send(rank, ())

    def _send(self, rank: int, what: tuple[()] | tuple[Any]) -> None:
        for other in range(self._world):
            self._ways[rank, other].put(what)


@dataclass(frozen=True)
class Threads(Ranks):
    """One of several, with tensors on a CPU."""

    table: Table = field(default_factory=lambda: Table(1), compare=False, repr=False)

    def any(self, flag: bool) -> bool:
        """Whether it is set on any rank."""
        return any(self.table.exchange(self.rank, flag))

    def gather(self, mine: T) -> list[T]:
        """What each rank has, in order."""
        return self.table.exchange(self.rank, mine)

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """In place, over all ranks."""
        everyones = self.gather([tensor.clone() for tensor in tensors])
        for tensor, *parts in zip(tensors, *everyones, strict=True):
            tensor.copy_(torch.stack(parts).sum(0))

    def collect(self, operation: Callable[[], object]) -> None:
        """Something that all do, by a process group if it needs one."""
        operation()

    def copy_first_(self, tensors: Iterable[Tensor]) -> None:
        """In place, what the first rank has."""
        tensors = [tensor.detach() for tensor in tensors]
        first, *_ = self.gather([tensor.clone() for tensor in tensors])
        for tensor, value in zip(tensors, first, strict=True):
            tensor.copy_(value)


def on_threads(world: int, task: Callable[[Threads], T]) -> list[T | Exception]:
    """What the task gives, or raises, on each rank."""
    table = Table(world)

    def run(rank: int) -> T | Exception:
        with table.turn:
            try:
                return task(Threads(rank, world, table=table))
            except Exception as error:
                table.leave(rank)
                return error

    with ThreadPoolExecutor(world) as pool:
        return list(pool.map(run, range(world)))
