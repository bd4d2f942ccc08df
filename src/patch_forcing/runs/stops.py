"""Signals that stop training: after the step at hand, with everything saved."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from patch_forcing.distributed.ranks import Ranks

_STOPS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)
]
"""Ctrl-C, and what batch systems send before the time is up; Windows knows no SIGUSR1."""


class Interrupted(KeyboardInterrupt):
    """Training was stopped by the user; the message says what was saved."""


@contextmanager
def stop_requests(ranks: Ranks) -> Iterator[threading.Event]:
    """The first signal asks for a stop after the step at hand; alone, a second one breaks it off.

    Of several ranks none may break off: the others would wait for it. Torchrun signals them twice.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # signals reach the main thread only
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in _STOPS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def request(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        if ranks.world == 1:
            restore()

    for number in _STOPS:
        signal.signal(number, request)
    try:
        yield stop
    finally:
        if stop.is_set() and ranks.world > 1:
            # torchrun ends with SIGTERM those who end a moment after the first
            before = dict.fromkeys(before, signal.SIG_IGN)
        restore()
