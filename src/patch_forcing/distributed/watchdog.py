"""Who keeps the others waiting: each rank tells where it is, and one that hangs is named."""

import json
import math
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple

from torch.distributed import TCPStore

from patch_forcing.distributed.ranks import LostRanksError, Ranks

_BEAT = 1.0
"""Seconds between two signs of life; a rank that misses three is gone."""
_LOOK = 0.05
"""Seconds between looks at the own place: where a rank stays longer, others know of it."""


@contextmanager
def watched(ranks: Ranks, limit: float) -> Iterator[None]:
    """While training: a rank that keeps others waiting for `limit` seconds ends all, and is named.

    It ends with status 2 a process whose main thread waits for another rank and hears nothing. A
    rank that died is found by its connection: here it is named too, with the place it died in.
    """
    if ranks.world == 1:
        yield
        return
    watchdog = _Watchdog(ranks, limit)
    try:
        yield
    except LostRanksError as error:
        raise LostRanksError(f"{error}; {watchdog.lost()}") from None
    finally:
        watchdog.close()


class Seen(NamedTuple):
    """Where a rank last reported to be, and for how many seconds; waiting: for other ranks."""

    what: str
    waiting: bool
    seconds: float


def blamed(ranks: Sequence[Seen], silence: Sequence[float], limit: float) -> str:
    """The first rank that keeps others waiting for more than `limit` seconds, if one does.

    silence: seconds since each gave a sign of life.
    """
    if not any(seen.waiting and seen.seconds > limit for seen in ranks):
        return ""
    for rank, (what, waiting, seconds) in enumerate(ranks):
        if silence[rank] > limit / 2:
            return f"rank {rank}, last seen {what}, has given no sign for {silence[rank]:.0f} s"
        if not waiting:
            return f"rank {rank} has been {what} for {seconds:.0f} s while others wait"
    return f"all ranks have waited for each other for {limit:.0f} s, rank 0 {ranks[0].what}"


class _Watchdog:
    """A thread with a connection of its own, to a table that the first rank keeps.

    A second thread watches the first: a connection to a process that is frozen waits without end.
    """

    def __init__(self, ranks: Ranks, limit: float):
        self._ranks, self._limit, self._beat = ranks, limit, min(_BEAT, limit / 4)
        timeout = timedelta(seconds=limit)
        host, server = os.environ.get("MASTER_ADDR", "localhost"), None
        if ranks.first:
            server = TCPStore(host, 0, None, True, timeout, wait_for_workers=False)
        port = ranks.gather(server.port if server else 0)[0]
        self._server = server
        self._table = TCPStore(host, port, None, False, timeout, wait_for_workers=False)
        self._ended = threading.Event()
        now = time.monotonic()
        self._heard = dict.fromkeys(range(ranks.world), (-1, now))
        """Of each rank, its last sign of life and when it came."""
        self._reported = dict.fromkeys(range(ranks.world), "starting")
        self._write(0)
        ranks.wait()  # or one would ask for what another has not written yet
        self._asked = math.inf
        """When the table was asked for what it has not answered yet."""
        self._thread, self._second = (
            threading.Thread(target=target, name="watchdog", daemon=True)
            for target in (self._watch, self._watch_table)
        )
        self._thread.start()
        self._second.start()

    def lost(self) -> str:
        """Which rank is gone, and where it was; takes up to three beats."""
        for _ in range(40):
            silent = [rank for rank in self._heard if self._silence(rank) > 3 * self._beat]
            if silent or not self._thread.is_alive():
                break
            time.sleep(self._beat / 8)
        rank = silent[0] if silent else 0  # without whose table there is nothing to hear
        return f"rank {rank} was last seen {self._reported[rank]}"

    def close(self) -> None:
        """No thread is left behind."""
        self._ended.set()
        self._thread.join(self._limit)
        self._second.join()

    def _watch(self) -> None:
        count, verdict, written, beaten = 0, "", 0.0, time.monotonic()
        while not self._ended.wait(_LOOK):
            due = time.monotonic() - beaten > self._beat
            if not due and self._ranks.place.since == written:
                continue
            count, written = count + 1, self._ranks.place.since
            self._asked = time.monotonic()
            try:
                self._write(count)
                if due:
                    beaten = time.monotonic()
                    ranks = self._read()
                    if self._table.check(["verdict"]):
                        verdict = self._table.get("verdict").decode()
                    elif verdict := blamed(ranks, [*map(self._silence, self._heard)], self._limit):
                        self._table.set("verdict", verdict)
            except Exception:  # the first rank is gone, or does not answer
                return
            self._asked = math.inf
            if verdict:
                self._end(verdict)

    def _watch_table(self) -> None:
        """Ends this process if it waits for others, and the first rank is silent, for `limit`."""
        while not self._ended.wait(self._beat):
            since = max(self._asked, self._ranks.place.since)
            if self._ranks.place.waiting and time.monotonic() - since > self._limit:
                seen = f"rank 0, last seen {self._reported[0]}, does not answer"
                self._end(f"{seen}; ended after {self._limit:g} s")

    def _write(self, count: int) -> None:
        place = self._ranks.place
        seconds = time.monotonic() - place.since
        sign = [count, place.what, place.waiting, seconds]
        self._table.set(f"rank {self._ranks.rank}", json.dumps(sign))

    def _read(self) -> list[Seen]:
        names = [f"rank {rank}" for rank in self._heard]
        ranks = []
        for rank, text in enumerate(self._table.multi_get(names)):
            count, what, waiting, seconds = json.loads(text)
            if count != self._heard[rank][0]:
                self._heard[rank] = count, time.monotonic()
            self._reported[rank] = what
            ranks.append(Seen(what, waiting, seconds))
        return ranks

    def _silence(self, rank: int) -> float:
        return time.monotonic() - self._heard[rank][1]

    def _end(self, verdict: str) -> None:
        """The main thread cannot: it waits in code that no exception reaches."""
        time.sleep(2 * self._beat)  # until all have heard
        if self._ended.is_set():
            return
        print(
            f"patch-forcing: {verdict}: the same command resumes from the last checkpoint",
            file=sys.stderr,
            flush=True,
        )
        os._exit(2)
