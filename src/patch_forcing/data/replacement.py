"""What takes the place of samples that cannot be read."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from patch_forcing.core.errors import UserError
from patch_forcing.core.random import CountedGenerator
from patch_forcing.data.batch import BadSample
from patch_forcing.data.images import BadImageError

MAX_BAD_RUN = 1000
"""Bad samples in a row before reading gives up."""
MAX_FAILED_RUN = 10
"""Samples in a row that the system fails to read: then the disk or the server is at fault."""

T = TypeVar("T")


class FailedRun:
    """Counts samples in a row that the system fails to read."""

    def __init__(self) -> None:
        self.length = 0

    def record(self, bad: BadSample, error: BadImageError) -> None:
        """Raises UserError after MAX_FAILED_RUN of them; what is bad by itself does not count."""
        self.length += error.may_pass
        if self.length == MAX_FAILED_RUN:
            raise UserError(
                f"{bad.path}: {bad.reason}, as with {MAX_FAILED_RUN - 1} others: mend the disk or "
                "the connection and start the same command again"
            ) from None


class Replacer(Generic[T]):
    """Reads samples by number; another takes the place of each bad one, and it is named once."""

    def __init__(
        self,
        read: Callable[[int], T],
        place: Callable[[int], str],
        num_samples: int,
        mend: str,
    ):
        """read: raises BadImageError for a bad sample. place: where one lies, for people.

        mend: what to do where too many in a row are bad.
        """
        self._read, self._place, self._num_samples, self._mend = read, place, num_samples, mend
        self._known: set[int] = set()
        self._news: list[BadSample] = []

    def __call__(self, seed: int, number: int, epoch: int) -> tuple[int, T]:
        """The sample, or the one in its place: which one it is, and what was read.

        A bad one is named when its own turn comes, not when it was tried in another's place: so
        the share of bad ones among those whose turn came is that of all.
        """
        failures = FailedRun()
        for candidate in self._candidates(seed, number, epoch):
            try:
                return candidate, self._read(candidate)
            except BadImageError as error:
                bad = BadSample(self._place(candidate), str(error))
                if candidate == number and number not in self._known:
                    self._known.add(number)
                    self._news.append(bad)
                failures.record(bad, error)
        raise UserError(
            f"{min(MAX_BAD_RUN, self._num_samples)} images in a row cannot be read, such as "
            f"{bad.path}: {bad.reason}: {self._mend}"
        )

    def bad_samples(self) -> list[BadSample]:
        """Those whose turn came, for the first time, since the last call."""
        news, self._news = self._news, []
        return news

    def _candidates(self, seed: int, number: int, epoch: int) -> Iterator[int]:
        """The sample, then others, each drawn from all: no good one is likelier than another."""
        yield number
        tried = {number}
        draws = CountedGenerator(seed, [number], epoch).fork("replacement")
        while len(tried) < min(MAX_BAD_RUN, self._num_samples):
            high, low = draws.uniform(2).double()[0].tolist()  # one alone has 23 bits
            candidate = int((high + (low - 0.5) * 2.0**-23) * self._num_samples)
            if candidate not in tried:
                tried.add(candidate)
                yield candidate
