"""Names and numbers of classes: which of one model are likely those of another, which are none."""

import math
import re
from collections import defaultdict
from collections.abc import Sequence

from patch_forcing.core.errors import UserError

_SHORTEST = 4
"""Letters that two words have to begin with in common, unless they are equal."""
_SHARE = 0.6
"""Of the longer word that those letters are at least."""


def alike(names: Sequence[str], known: Sequence[str]) -> dict[int, int]:
    """The place of each name → the place of the known name most like it, where there is one.

    The same name first; then names that share a word but for its ending, those with the greatest
    share of words in common first: birds and animal-bird, clothes and clothing. No known name is
    taken twice.
    """
    words, others = [_words(name) for name in names], [_words(name) for name in known]
    places = {name: column for column, name in enumerate(known)}
    begins = defaultdict[str, set[int]](set)  # the known names with a word that begins so
    for column, there in enumerate(others):
        for word in there:
            begins[word[:_SHORTEST]].add(column)
    scores = []
    for row, name in enumerate(names):
        if name in places:
            scores.append((-2.0, row, places[name]))
        near = set[int]().union(*(begins[word[:_SHORTEST]] for word in words[row]))
        shares = ((_shared(words[row], others[column]), column) for column in near)
        scores.extend((-share, row, column) for share, column in shares if share)
    pairs: dict[int, int] = {}
    taken = set[int]()
    for _, row, column in sorted(scores):
        if row not in pairs and column not in taken:
            pairs[row] = column
            taken.add(column)
    return pairs


def _shared(words: list[str], others: list[str]) -> float:
    """Of the words of two names, the share that stands in the other one too, but for endings."""
    forth = sum(any(_same(word, one) for one in others) for word in words)
    back = sum(any(_same(word, one) for word in words) for one in others)
    return (forth + back) / (len(words) + len(others))


def _words(name: str) -> list[str]:
    return [_singular(word) for word in re.findall(r"[^\W\d_]+", name.casefold())]


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _same(word: str, other: str) -> bool:
    if word == other:
        return len(word) > 1
    letters = max(_SHORTEST, math.ceil(_SHARE * max(len(word), len(other))))
    return min(len(word), len(other)) >= letters and word[:letters] == other[:letters]


def label_error(label: int, num_classes: int) -> UserError:
    """The error for a label that the model does not know."""
    if num_classes == 0:
        return UserError(f"label {label}: this model is unconditional, give no labels")
    return UserError(f"label {label} is out of range: this model knows 0 to {num_classes - 1}")
