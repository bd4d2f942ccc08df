"""What the Hub, or the way to it, refused: in one line, with the mend."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from patch_forcing.core.errors import UserError

LOG_IN = "log in (hf auth login, or HF_TOKEN)"
_NETWORK = {
    "ChunkedEncodingError",
    "ConnectionError",
    "Timeout",
    "TimeoutError",
    "TransportError",
}
"""Classes of requests, of httpx and of Python, of which the network's errors are."""


@contextmanager
def asking(begin: str, revision: str | None = None) -> Iterator[None]:
    """Errors of the Hub, the network and this disk become a UserError that begins so.

    What huggingface_hub remarks meanwhile, and its progress, are shown on a terminal only.
    """
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
        logging,
    )

    level, hides = logging.get_verbosity(), are_progress_bars_disabled()
    if quiet := not sys.stderr.isatty():
        logging.set_verbosity_error()
        if not hides:
            disable_progress_bars()
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # of many kinds, which differ with the release
        raise UserError(f"{begin}: {why(error, revision)}") from None
    finally:
        if quiet:
            logging.set_verbosity(level)
            if not hides:
                enable_progress_bars()


def why(error: BaseException, revision: str | None = None) -> str:
    """Why the Hub does not give a repository or take one, and what to do."""
    from huggingface_hub import errors, get_token

    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, errors.GatedRepoError):
            return f"its owner grants access one by one: ask for it on its page, then {LOG_IN}"
        if isinstance(cause, errors.RevisionNotFoundError):
            return f"it has no revision {revision!r}: name a branch, a tag or a commit"
        if isinstance(cause, errors.RepositoryNotFoundError):
            seen = "this token may not see it" if get_token() else "it is private"
            mend = "use one that may" if get_token() else LOG_IN
            return f"there is no such repository, or {seen}: check the name, or {mend}"
        if isinstance(cause, errors.LocalTokenNotFoundError):
            return f"there is no token: {LOG_IN}"
        if isinstance(cause, errors.OfflineModeIsEnabled):
            return "HF_HUB_OFFLINE is set, and it is not in the cache: unset that"
        if isinstance(cause, errors.HFValidationError):
            return "that is no name of a repository: write OWNER/NAME"
        status = getattr(getattr(cause, "response", None), "status_code", None)
        if status is not None:
            return _refusal(status)
    for cause in causes:
        if {kind.__name__ for kind in type(cause).__mro__} & _NETWORK:
            return f"it cannot be reached ({type(cause).__name__}): check the network, then again"
    return _other(causes[-1])


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it was raised from."""
    known: BaseException | None = error
    while known is not None:
        yield known
        known = known.__cause__


def _refusal(status: int) -> str:
    """What an answer with this status means."""
    if status in (401, 403):
        return f"this token may not do that ({status}): use one that may write there, or {LOG_IN}"
    if status >= 500 or status == 429:
        return f"it answers {status}: try again later"
    return f"it answers {status}: check the name, and that huggingface-hub is of today"


def _other(error: BaseException) -> str:
    """An error of this disk, or of a kind that nobody foresaw."""
    if isinstance(error, OSError) and error.errno is not None:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{os.strerror(error.errno)}: make room, or name another place"
    first = str(error).strip().splitlines()[:1]
    cut = "Consistency check failed" in str(error)
    mend = "again, it goes on where it stopped" if cut else "check the name and the network"
    return f"{type(error).__name__}: {' '.join(first)[:200]}: {mend}"
