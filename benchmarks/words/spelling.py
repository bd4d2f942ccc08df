"""Made-up words, which of them training never sees, and how far readings are from them.

No list of real words comes with Python, and one that was downloaded could not be had everywhere. So
syllables make the words. Lower case: in some fonts a capital is a larger copy of its small letter.
"""

import string
import zlib
from collections.abc import Iterator
from functools import cache

import torch

from patch_forcing.core.random import CountedGenerator

LETTERS = string.ascii_lowercase
SHORTEST, LONGEST = 3, 8
OF_EACH_LENGTH = 1000
CAPTION_BYTES = 16
"""Holds the longest caption, a word in quotes; a multiple of 8, as kernels of attention have it."""
_BEGINNINGS = (
    "b c d f g h j k l m n p qu r s t v w y z bl br ch cl cr dr fl fr gl gr pl pr sc sh sk sl sm "
    "sn sp st str sw th tr tw wh"
)
_MIDDLES = "a e i o u a e i o u ai ea ee oa oo ou"
_ENDS = (
    "b d g k l m n p r s t x z ck ct ft ld ll lm lt mp nd ng nk nt pt rd rk rm rn rt sh sk sp ss "
    "st th"
)
_PARTS = (_BEGINNINGS.split(), _MIDDLES.split(), [""] * 16 + _ENDS.split())
"""Of syllables; a third of them ends with a vowel."""
_SYLLABLES = 4
_EVERY = 8
"""One word in so many is held out."""
_HASHES = (
    "0040840c 033330db 1c23dabc 1c2bc09d 1c9fa193 31b4780a 46b6cf53 5a81ff62 6cbb5832 9103e5ce "
    "96e2bc3e b109b507 bb80fa3d bf2979c1 bfa718d7 c0097afa c063859c cc614ca6 d49b3c3d dae11b2d "
    "dfec8b58 f6fbde46 f9835dcc fc3b5303 fd5d2f3d"
)
_UNKIND = {int(code, 16) for code in _HASHES.split()}
"""Hashes of what nobody wants to see in a picture."""


def held_out(word: str) -> bool:
    """Whether training never sees the word: it depends on the word alone."""
    return zlib.crc32(word.encode()) % _EVERY == 0


@cache
def words(unseen: bool = False) -> tuple[str, ...]:
    """Those that training sees, or those that it never sees; lengths 3, 4, … 8 in turn."""
    kept = [[word for word in group if held_out(word) == unseen] for group in _by_length()]
    return tuple(word for row in zip(*kept, strict=False) for word in row)


@cache
def _by_length() -> list[list[str]]:
    """The first words of each length, 3, 4, … 8."""
    groups: dict[int, dict[str, None]] = {n: {} for n in range(SHORTEST, LONGEST + 1)}
    for word in _candidates():
        group = groups.get(len(word))
        if group is not None and len(group) < OF_EACH_LENGTH and not _unkind(word):
            group[word] = None
            if all(len(group) == OF_EACH_LENGTH for group in groups.values()):
                break
    return [list(group) for group in groups.values()]


def _unkind(word: str) -> bool:
    parts = {word} | {word[i : i + 4] for i in range(len(word) - 3)}
    return any(zlib.crc32(part.encode()) in _UNKIND for part in parts)


def _candidates() -> Iterator[str]:
    """Words of one to four syllables, without end; some come twice."""
    start, block = 0, 4096
    while True:
        ids = torch.arange(start, start + block)
        u = CountedGenerator(0, ids).fork("spelling").uniform(1 + 3 * _SYLLABLES)
        for first, *rest in u.tolist():
            syllables = 1 + int(first * _SYLLABLES)
            yield "".join(
                parts[int(rest[3 * k + place] * len(parts))]
                for k in range(syllables)
                for place, parts in enumerate(_PARTS)
            )
        start += block


def caption(word: str) -> str:
    """In quotes, which say where it begins and ends; without them, "none" would be no condition."""
    return f'"{word}"'


def distance(read: str, word: str) -> int:
    """The fewest letters to insert, leave out or replace (Levenshtein 1966)."""
    row = list(range(len(word) + 1))
    for i, a in enumerate(read, start=1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(word, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]
