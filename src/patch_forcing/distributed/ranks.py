"""Several processes that train one model together, each a rank: one a GPU, as torchrun starts them.

All ranks do the same at the same time, or wait for each other; only the first one writes files.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.data.batch_spec import rank_places

T = TypeVar("T")


class LostRanksError(UserError):
    """Another rank died."""


_PATIENCE = timedelta(hours=1)
"""Until torch itself gives up on a collective; the watchdog of a training is sooner."""


class Place:
    """Where this process is, for whoever wonders why it keeps others waiting."""

    def __init__(self) -> None:
        self.enter("starting")

    def enter(self, what: str, *, waiting: bool = False) -> None:
        """what: such as "reading the batch of step 3". waiting: for other ranks."""
        self.what, self.waiting, self.since = what, waiting, time.monotonic()


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together; alone unless told otherwise.

    What several of them do here, all must do, in the same order.

    one_host: whether no network is between them.
    """

    rank: int = 0
    world: int = 1
    one_host: bool = True
    place: Place = field(default_factory=Place, compare=False, repr=False)

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def places(self, batch_size: int) -> range:
        """The places of every batch that are this rank's."""
        return rank_places(batch_size, self.rank, self.world)

    def any(self, flag: bool) -> bool:
        """Whether it is set on any rank. A fifth of a millisecond; no GPU is waited for."""
        flags = torch.tensor(flag, dtype=torch.int32)
        self._collect(dist.all_reduce, flags, dist.ReduceOp.MAX)
        return bool(flags)

    def gather(self, mine: T) -> list[T]:
        """What each rank has, in order."""
        everyones = [mine] * self.world
        self._collect(dist.all_gather_object, everyones, mine)
        return everyones

    @contextmanager
    def together(self, kind: type[Exception] = UserError) -> Iterator[None]:
        """An error of this kind that one rank raises in here is raised on all: none waits for it
        in vain.
        """
        error = None
        try:
            yield
        except LostRanksError:
            raise
        except kind as raised:
            if self.world == 1:
                raise
            error = raised
        if self.any(error is not None):
            messages = self.gather(error and (str(error) or repr(error)))
            rank, message = next((rank, text) for rank, text in enumerate(messages) if text)
            raise error or kind(f"rank {rank}: {message}")

    def wait(self) -> None:
        """Until all ranks are here."""
        self.any(False)

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """In place, over all ranks; every rank is left with the same bits.

        What is not finite on one rank is not finite on any after that.
        """
        if self.world > 1:
            self._collect(lambda: self.begin_sum(tensors).wait())

    def begin_sum(self, tensors: Sequence[Tensor]) -> dist.Work:
        """The same of tensors of one type, beside what this rank goes on with; not if alone.

        Nothing is copied together: on a GPU, NCCL sums where they lie, on a stream of its own.
        """
        assert dist.group.WORLD is not None
        return dist.group.WORLD.allreduce_coalesced(list(tensors))

    def copy_first_(self, tensors: Iterable[Tensor]) -> None:
        """In place, what the first rank has."""
        for tensor in tensors:
            self._collect(dist.broadcast, tensor.detach(), 0)

    def collect(self, operation: Callable[[], object]) -> None:
        """Something else that all do. Raises LostRanksError if one is gone."""
        self._collect(operation)

    @contextmanager
    def connected(self, *, waiting: bool = False) -> Iterator[None]:
        """Where something in here waits for other ranks by itself, and its connection may break.

        waiting: all of it counts as waiting for them. Raises LostRanksError if one is gone.
        """
        what = self.place.what
        if waiting and self.world > 1:
            self.place.enter(what, waiting=True)
        try:
            yield
        except RuntimeError as error:
            if self.world == 1 or not _is_broken_connection(error):
                raise
            raise self._lost(error) from None
        if waiting and self.world > 1:
            self.place.enter(what)

    def _collect(self, operation: Callable[..., Any], *operands: Any) -> None:
        if self.world == 1:
            return
        what = self.place.what
        self.place.enter(what, waiting=True)
        try:
            operation(*operands)
        except RuntimeError as error:  # its connection broke
            raise self._lost(error) from None
        self.place.enter(what)

    def _lost(self, error: RuntimeError) -> LostRanksError:
        return LostRanksError(
            f"rank {self.rank} of {self.world} lost the others "
            f"({str(error).strip().splitlines()[0]}): see what they said; the same command "
            "resumes from the last checkpoint"
        )


def _is_broken_connection(error: RuntimeError) -> bool:
    # NCCL's errors have a class, gloo's only a text
    return isinstance(error, dist.DistError) or "gloo" in str(error) or "NCCL" in str(error)


ALONE = Ranks()


@contextmanager
def join_ranks(device: torch.device | str) -> Iterator[Ranks]:
    """The ranks that torchrun's environment names; none but this process without it.

    Of GPUs, each rank of a machine takes its own. Raises UserError if there are too few.
    """
    world = int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1
    if world == 1:
        yield Ranks()
        return
    device = torch.device(device)
    if device.type == "cuda":
        local, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if device.index is not None:
            raise UserError(
                f"--device {device} is one GPU for {world} ranks: --device cuda gives each its own"
            )
        if local >= count:
            raise UserError(
                f"{local + 1} or more ranks for {count} GPUs of a machine: lower --nproc-per-node"
            )
        torch.cuda.set_device(local)
    # what ranks tell each other goes by gloo, past the GPU and its queue
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=_PATIENCE)
    together = True
    try:
        here = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
        yield Ranks(dist.get_rank(), dist.get_world_size(), here == world)
    except BaseException as error:
        agreed = isinstance(error, UserError | KeyboardInterrupt)
        together = agreed and not isinstance(error, LostRanksError)
        raise
    finally:
        # or processes that end while others do may abort; but NCCL might wait for ranks that died
        if together or device.type != "cuda":
            dist.destroy_process_group()
