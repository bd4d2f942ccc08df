"""Errors that a user can cause, and the nearest right spelling for the mend."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake that the user can mend: one line naming the value, the place and the mend.

    The command line prints it without a traceback and exits with status 2.
    """


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on any device."""
    # torch has a class for it on GPUs, but only a text on CPUs
    text = str(error)
    return isinstance(error, MemoryError) or "out of memory" in text or "allocate memory" in text


_MANY = 100
"""Names that a line has no room for."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not in a registry, with the nearest name that is."""
    known = sorted(known)
    by_case = {option.lower(): option for option in known}
    nearest = difflib.get_close_matches(name.lower(), by_case, n=1, cutoff=0.5)
    mend = f"known: {', '.join(known)}"
    if nearest:
        mend = f"did you mean {by_case[nearest[0]]!r}?"
    elif len(known) > _MANY:
        near = difflib.get_close_matches(name.lower(), by_case, n=3, cutoff=0)
        mend = f"{len(known)} are known, the nearest {', '.join(by_case[one] for one in near)}"
    if not known:
        mend = "there are none, leave it out"
    return UserError(f"unknown {kind} {name!r}: {mend}")
