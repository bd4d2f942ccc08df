"""Computing some tokens of an image: which ones, and what is remembered of the others."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jaxtyping import Bool, Int64
from torch import Tensor


class ActiveTokens(NamedTuple):
    """The tokens that an evaluation computes; the others are as `memory` holds them.

    tokens: (B, M), ascending in each row, as many for every image; None: all are computed, and
    remembered. memory: a list, empty at first, that only the network looks into: the keys and
    values of all tokens, brought up to date by each evaluation that is given it.
    """

    tokens: Int64[Tensor, "B M"] | None
    memory: list[Any]


@dataclass
class Memory:
    """What a field remembers of an image's tokens; of a guided evaluation, for two predictions."""

    guided: bool = False
    of_model: list[Any] = field(default_factory=list)


def token_index(where: Bool[Tensor, "B N"], count: int) -> Int64[Tensor, "B {count}"]:
    """The tokens of `where`, ascending; `count` of them in every row, which is not checked."""
    # a stable sort, not nonzero: nothing has to wait for a GPU to count
    return (~where).int().argsort(dim=1, stable=True)[:, :count]


def asked(active: ActiveTokens | None) -> dict[str, ActiveTokens]:
    """The keyword of a call; none, if nothing is asked for, since not every model knows it."""
    return {} if active is None else {"active": active}
