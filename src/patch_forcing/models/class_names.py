"""Which classes of one model are likely those of another, by their names."""

import re
from collections.abc import Sequence

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
    scores = [
        (_score(name, other), row, column)
        for row, name in enumerate(names)
        for column, other in enumerate(known)
    ]
    pairs: dict[int, int] = {}
    for score, row, column in sorted(scores, key=lambda one: (-one[0], one[1], one[2])):
        if score > 0 and row not in pairs and column not in pairs.values():
            pairs[row] = column
    return pairs


def _score(name: str, other: str) -> float:
    if name == other:
        return 2.0
    words, others = _words(name), _words(other)
    if not words or not others:
        return 0.0
    found = sum(any(_same(word, one) for one in others) for word in words)
    back = sum(any(_same(word, one) for word in words) for one in others)
    return (found + back) / (len(words) + len(others))


def _words(name: str) -> list[str]:
    return [_singular(word) for word in re.findall(r"[^\W\d_]+", name.casefold())]


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _same(word: str, other: str) -> bool:
    if word == other:
        return len(word) > 1
    common = next(
        (k for k, (a, b) in enumerate(zip(word, other, strict=False)) if a != b),
        min(len(word), len(other)),
    )
    return common >= max(_SHORTEST, _SHARE * max(len(word), len(other)))
