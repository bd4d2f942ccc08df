"""Names that users choose samplers and schedules by, known before torch is loaded."""

from collections.abc import Iterable

SAMPLER_NAMES = (
    "euler",
    "adams-bashforth",
    "heun",
    "euler-maruyama",
    "random-order",
    "dual-loop",
    "look-ahead",
    "multirate",
    "adaptive",
)
"""Those of `SAMPLERS`, in its order."""
DEFAULT_SAMPLER = "adams-bashforth"
"""The best at few evaluations, within 3 FD of the best at others (docs/results/samplers.md)."""
OF_PAPER = ("euler", "random-order", "dual-loop", "look-ahead")
"""The samplers of the paper that this project implements (arXiv 2604.19141)."""
SCHEDULE_NAMES = ("constant", "linear", "cosine")
"""Those of `SCHEDULES`: how guidance depends on a patch's time."""


def listed(names: Iterable[str], word: str = "or") -> str:
    """Names in a sentence: "euler, heun or look-ahead"."""
    *others, last = names
    return f"{', '.join(others)} {word} {last}" if others else last
