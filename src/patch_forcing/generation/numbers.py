"""Whole numbers as text: ranges with commas between them, as on the command line."""

import hashlib
import re
from collections.abc import Sequence
from itertools import pairwise

from patch_forcing.core.errors import UserError

MAX_RANGE = 10_000_000
"""Numbers that one range may stand for."""
MAX_KEPT = 1000
"""Characters of a text that a record keeps as they are; of a longer one it keeps a hash."""


def parse_numbers(option: str, text: str) -> list[int]:
    """Numbers and ranges: "0-2,7" → 0, 1, 2, 7. Raises UserError naming the option."""
    numbers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,19})(?:-(\d{1,19}))?", part.strip())
        if not match:
            raise UserError(
                f"{option} {text!r}: {part!r} is no number: write for example 3,7 or 0-15"
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UserError(f"{option} {text!r}: {part!r} runs backwards: write {last}-{first}")
        if last - first >= MAX_RANGE:
            raise UserError(f"{option} {text!r}: more than ten million: ask for fewer at once")
        numbers.extend(range(first, last + 1))
    return numbers


def write_numbers(numbers: Sequence[int]) -> str:
    """The inverse of `parse_numbers`: 0, 1, 2, 7 → "0-2,7"."""
    starts = [0, *(i for i in range(1, len(numbers)) if numbers[i] != numbers[i - 1] + 1)]
    runs = [(numbers[i], numbers[j - 1]) for i, j in pairwise([*starts, len(numbers)])]
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def abridged(text: str) -> str:
    """The text; of a long one its beginning and its hash, which no other text has."""
    if len(text) <= MAX_KEPT:
        return text
    return f"{text[:20]}… sha256 {hashlib.sha256(text.encode()).hexdigest()[:16]}"
