"""Errors that a user can cause. Each names the value, the place and the mend."""

import difflib
import math
import re
from collections.abc import Callable, Iterable
from numbers import Integral, Real


class UserError(ValueError):
    """A mistake that the user can mend. Its one line names the value, the place and the mend.

    The command line prints this line without a traceback and exits with status 2.
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
    """Raises UserError that names the value and the range, unless a finite value lies within it.

    name: of the value as the user wrote it, or what it is in words. An option of the command line
    begins with "--". A class may stand before it: "Class: name".
    low, high: the ends of the range, if they belong to it.
    above, below: the ends of the range, if they do not.
    whole: whether the value has to be an integer.
    mend: what follows the range in the message, such as "; 0 is none".
    """
    fits = isinstance(value, Real) and math.isfinite(value)  # numbers of NumPy are of these, too
    fits = fits and not (whole and (isinstance(value, bool) or not isinstance(value, Integral)))
    fits = fits and (low is None or value >= low) and (high is None or value <= high)
    fits = fits and (above is None or value > above) and (below is None or value < below)
    if fits:
        return
    wanted = ["a whole number"] * whole
    if low is not None and high is not None:
        wanted.append(f"{low} to {high}")
    else:
        ends = (("{} or more", low), ("up to {}", high), ("above {}", above), ("below {}", below))
        wanted += [text.format(end) for text, end in ends if end is not None]
    is_field = not name.startswith("--") and (" " not in name or ": " in name)
    given = f"{name}={value}" if is_field else f"{name} {value}"
    choices = ", ".join(wanted) or "a finite number"
    raise UserError(f"{given} is out of range: choose {choices}{mend}")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error says that a device or the host ran out of memory."""
    # torch has a class for it on GPUs, but only a text on CPUs
    text = str(error)
    return isinstance(error, MemoryError) or "out of memory" in text or "allocate memory" in text


_MAX_LISTED_NAMES = 100
"""A message lists all known names only up to this number."""
_MAX_BESIDE_LISTING = 20
"""The same where a command lists them."""


def nearest_names(name: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """Names that may be meant: those that begin with it, hold it, hold each of its words from a
    word's beginning on, have a word that begins with it but for two neighbouring letters that are
    swapped, or else the one whose letters are the nearest. Case does not count.
    """
    by_case = {option.lower(): option for option in known}
    wanted = name.strip().lower()
    words = [_beginning(word) for word in re.findall(r"\w+", wanted)]
    places = range(len(wanted) - 1 if len(wanted) > 2 else 0)  # two letters swapped are any two
    pairs = [(wanted[:i], wanted[i : i + 2][::-1], wanted[i + 2 :]) for i in places]
    swapped = [_beginning(re.escape("".join(parts))) for parts in pairs]
    rules: list[Callable[[str], bool]] = [
        lambda option: option.startswith(wanted),
        lambda option: wanted in option,
        lambda option: all(word.search(option) for word in words),
        lambda option: any(swap.search(option) for swap in swapped),
    ]
    for rule in rules if words else ():
        matching = sorted(filter(rule, by_case), key=lambda option: (len(option), option))
        if matching:
            return [by_case[option] for option in matching[:limit]]
    return [by_case[key] for key in difflib.get_close_matches(wanted, by_case, n=1, cutoff=0.5)]


def _beginning(pattern: str) -> re.Pattern[str]:
    """Finds it where a word begins."""
    return re.compile(rf"(?<![^\W_]){pattern}")


def unknown_name(
    kind: str, name: str, known: Iterable[str], *, listing: str | None = None
) -> UserError:
    """The error for a name that is in no registry. It proposes the nearest names that are.

    listing: the command that lists all of them.
    """
    known = sorted(known)
    nearest = nearest_names(name, known)
    mend = f"known: {', '.join(known)}"
    if nearest:
        *others, last = map(repr, nearest)
        mend = f"did you mean {' or '.join([', '.join(others), last]) if others else last}?"
    elif len(known) > (_MAX_LISTED_NAMES if listing is None else _MAX_BESIDE_LISTING):
        near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0)
        mend = f"{len(known)} are known, the nearest {', '.join(near)}"
    if not known:
        mend = "there are none, leave it out"
    elif listing is not None:
        mend += f" {listing} lists all {len(known)}" if nearest else f"; {listing} lists them"
    return UserError(f"unknown {kind} {name!r}: {mend}")
