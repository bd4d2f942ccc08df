"""Progress bars of long work."""

import sys

from tqdm import tqdm


def progress_bar(
    progress: bool | None, *, total: int, unit: str, initial: int = 0, desc: str | None = None
) -> tqdm:
    """A bar on stderr. progress: whether to draw it. None draws it if stderr is a terminal."""
    hidden = None if progress is None else not progress  # None lets tqdm look for a terminal
    hidden = sys.stderr is None or hidden  # as in a service
    return tqdm(total=total, initial=initial, unit=unit, disable=hidden, desc=desc)
