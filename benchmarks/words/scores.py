"""How well words were read: exact strings, letters that differ, and intervals."""

import math
from collections.abc import Sequence

import torch

from benchmarks.common.record import Row
from benchmarks.words.spelling import LONGEST, SHORTEST, distance
from patch_forcing.evaluation.estimate import NORMAL, mean_estimate


def share_interval(share: float, count: int) -> list[float]:
    """Ends of the 95 % interval of a share of that many (Wilson 1927), within 0 and 1 at the ends
    too.
    """
    z2 = NORMAL**2 / count
    middle = share + z2 / 2
    reach = math.sqrt(z2 * (share * (1 - share) + z2 / 4))
    return [(middle - reach) / (1 + z2), (middle + reach) / (1 + z2)]


def scores(read: Sequence[str], wanted: Sequence[str]) -> Row:
    """Share of exact strings, mean edit distance, each with its 95 % interval, and the share for
    each length of words that occurs.
    """
    pairs = list(zip(read, wanted, strict=True))
    right = torch.tensor([a == b for a, b in pairs]).double()
    edits = mean_estimate(torch.tensor([distance(a, b) for a, b in pairs]))
    lengths = torch.tensor([len(word) for word in wanted])
    exact = float(right.mean())
    return {
        "images": len(pairs),
        "exact": exact,
        "exact_interval": share_interval(exact, len(pairs)),
        "distance": edits.value,
        "distance_interval": list(edits.interval),
        "by_length": {
            str(n): float(right[lengths == n].mean())
            for n in range(SHORTEST, LONGEST + 1)
            if (lengths == n).any()
        },
    }
