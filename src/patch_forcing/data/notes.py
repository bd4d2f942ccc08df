"""What a user can check of data before training: a few lines, in which names have no say."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from patch_forcing.data.annotations import Conditions

MAX_NAMED = 8
"""Names that a sentence lists, at most."""
_MAX_NOTES = 4


class Notes(NamedTuple):
    """Sentences; those that are empty are not shown.

    source: where images, classes and captions come from. aside: what is no part of the data, and
    how much of it. unread: what may hold labels or captions and is not read, and the mend.
    doubt: where another reading is possible.
    """

    source: str = ""
    aside: str = ""
    unread: str = ""
    doubt: str = ""

    @property
    def lines(self) -> list[str]:
        """One for each sentence."""
        begins = ("", "", "not read: ", "in doubt: ")
        return [begin + note for begin, note in zip(begins, self, strict=True) if note]


def source(place: str, known: Conditions, labels: str, captions: str) -> str:
    """Where all comes from, and whether it is taken.

    labels, captions: what gives them; empty if nothing does.
    """
    classes = "no classes"
    if known.condition == "class":
        classes = f"classes by {labels}"
    elif labels:
        classes += f" (by {labels} with --data.condition class)"
    texts = "no captions"
    if known.captions:
        texts = f"captions by {captions}"
        texts += "" if known.condition == "caption" else ", kept beside them"
    elif captions:
        texts += f" (by {captions} with --data.condition caption)"
    return f"from {printable(place)}: {classes}, {texts}"


def joined(notes: Sequence[str]) -> str:
    """Several notes in one line, the first ones if there are many."""
    more = len(notes) - _MAX_NOTES
    return "; ".join(notes[:_MAX_NOTES]) + (f"; and {more} more" if more > 0 else "")


def listed(names: Iterable[str], most: int = MAX_NAMED) -> str:
    """The first names, as they may be shown, and how many more there are."""
    names = list(names)
    more = len(names) - most
    shown = ", ".join(map(printable, names[:most]))
    return shown + (f" and {more} more" if more > 0 else "")


def printable(text: str) -> str:
    """A stranger's name or label as it may be shown: it has no say over a terminal."""
    if text.isprintable():
        return text
    # bytes of a file name that are no text stay: streams write them as \\udcff
    return "".join(c if c.isprintable() or "\ud800" <= c <= "\udfff" else "�" for c in text)
