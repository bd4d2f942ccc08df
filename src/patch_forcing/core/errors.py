"""Errors that a user can cause, and the nearest right spelling for the mend."""

import difflib
import math
from collections.abc import Iterable
from numbers import Integral, Real


class UserError(ValueError):
    """A mistake that the user can mend: one line naming the value, the place and the mend.

    The command line prints it without a traceback and exits with status 2.
    """


def check_range(
    name: str,
    value: float,
    low: float | None = None,
    high: float | None = None,
    *,
    above: float | None = None,
    below: float | None = None,
    whole: bool = False,
    mend: str = "",
) -> None:
    """Raises UserError, naming the value and the range, unless the value is finite and within it.

    name: as the user wrote it, with "--" if it is an option of the command line; or what the value
    is, in words. low, high: the range with its ends. above, below: the range without them. whole:
    only an integer will do. mend: what follows the range in the message, such as "; 0 is none".
    """
    fits = isinstance(value, Real) and math.isfinite(value)  # numbers of NumPy are of these, too
    fits = fits and not (whole and (isinstance(value, bool) or not isinstance(value, Integral)))
    fits = fits and (low is None or value >= low) and (high is None or value <= high)
    fits = fits and (above is None or value > above) and (below is None or value < below)
    if fits:
        return
    if low is not None and high is not None:
        wanted = f"{low} to {high}"
    else:
        ends = (("{} or more", low), ("up to {}", high), ("above {}", above), ("below {}", below))
        wanted = ", ".join(text.format(end) for text, end in ends if end is not None)
    wanted = "a whole number, " * whole + wanted
    given = f"{name} {value}" if name.startswith("--") or " " in name else f"{name}={value}"
    raise UserError(f"{given} is out of range: choose {wanted}{mend}")


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
