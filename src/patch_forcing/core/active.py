"""Evaluations of some tokens of an image: which ones, and what is remembered of the others."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor

from patch_forcing.core.time import PatchTime

PACKED_SIZES = 16
"""How many different numbers of packed tokens a batch may have; they are padded to the next one."""

Tokens = Int64[Tensor, "B M"] | Int64[Tensor, " T"]


class ActiveTokens(NamedTuple):
    """The tokens that an evaluation computes; the others are as `memory` holds them.

    tokens: (B, M), ascending in each row, as many for every image; or packed, (T,), token n of
    image b as b·N + n, so that images may have different numbers of them; one that occurs twice is
    computed twice, to the same end. None: all are computed, and remembered. memory: a list, empty
    at first, that only the network looks into: the keys and values of all tokens, brought up to
    date by each evaluation that is given it.
    """

    tokens: Tokens | None
    memory: list[Any]

    def tile(self, times: int, count: int) -> "ActiveTokens":
        """The same tokens of a batch, of `count` tokens in all, that is repeated `times` over."""
        if self.tokens is None:
            return self
        if self.tokens.ndim == 2:
            return self._replace(tokens=self.tokens.repeat(times, 1))
        return self._replace(tokens=torch.cat([self.tokens + count * k for k in range(times)]))


@dataclass
class Memory:
    """What a field remembers of an image's tokens; of a guided evaluation, for two predictions.

    The tokens that wait are seen as their last evaluation left them.
    """

    guided: bool = False
    of_model: list[Any] = field(default_factory=list)

    def before(self, t: PatchTime) -> None:
        """Called before some tokens are evaluated, with the times that all are to be seen at."""

    def after(self, t: PatchTime, tokens: Tokens | None) -> None:
        """Called after these tokens were evaluated (None: all), which brought `of_model` up."""


@dataclass
class CarriedMemory(Memory):
    """The tokens that wait are seen at the time of the evaluation, along their own last change.

    k(t) = k_i + (t − t_i)·(k_i − k_j)/(t_i − t_j) for keys and values k_i, k_j of a token's last
    two evaluations, at t_i > t_j; as they were left while there is one.
    """

    _values: list[Any] = field(default_factory=list)
    _rates: list[Any] = field(default_factory=list)
    _time: Float[Tensor, "B N"] | None = None

    def before(self, t: PatchTime) -> None:
        assert self._time is not None
        ahead = t.to_dense() - self._time
        self.of_model = _map(
            lambda k, rate: (k + _along(ahead, k) * rate).to(k.dtype), self._values, self._rates
        )

    def after(self, t: PatchTime, tokens: Tokens | None) -> None:
        now, new = t.to_dense(), self.of_model
        if tokens is None and (self._time is None or not _same_shape(new, self._values)):
            # copied: the network may overwrite them at its next evaluation
            self._values, self._time = _map(torch.clone, new), now
            self._rates = _map(
                lambda k: torch.zeros_like(k, dtype=torch.promote_types(k.dtype, torch.float32)),
                new,
            )
            return
        assert self._time is not None
        known = torch.ones_like(now, dtype=torch.bool)
        if tokens is not None:
            known = torch.zeros_like(known)
            if tokens.ndim == 2:
                known = known.scatter(1, tokens, True)
            else:
                known = known.flatten().scatter(0, tokens, True).view_as(known)
        per_time = (1 / (now - self._time)).nan_to_num(0, 0, 0)  # twice at one time: no rate

        def rate(k: Tensor, before: Tensor, old: Tensor) -> Tensor:
            # times are fp32 whatever the network computes in, and so are rates
            return torch.where(_along(known, k), (k - before) * _along(per_time, k), old)

        self._rates = _map(rate, new, self._values, self._rates)
        self._values = _map(lambda k, old: torch.where(_along(known, k), k, old), new, self._values)
        self._time = torch.where(known, now, self._time)


def _map(function: Callable[..., Tensor], *trees: list[Any]) -> list[Any]:
    """Leaf by leaf, of nested lists of one form."""
    return [
        _map(function, *parts) if isinstance(parts[0], list) else function(*parts)
        for parts in zip(*trees, strict=True)
    ]


def _same_shape(one: list[Any], other: list[Any]) -> bool:
    """Whether two memories are of the same number of predictions: guidance comes and goes."""
    if len(one) != len(other):
        return False
    pairs = zip(one, other, strict=True)
    return all(
        _same_shape(a, b)
        if isinstance(a, list) and isinstance(b, list)
        else isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape == b.shape
        for a, b in pairs
    )


def _along(values: Shaped[Tensor, "B N"], k: Tensor) -> Tensor:
    """One number for each token → to go with k (B, N, …), or (2·B, N, …) for two predictions."""
    rows = values.repeat(len(k) // len(values), 1)
    return rows.reshape(*rows.shape, *(1 for _ in k.shape[2:]))


def token_index(where: Bool[Tensor, "B N"], count: int) -> Int64[Tensor, "B {count}"]:
    """The tokens of `where`, ascending; `count` of them in every row, which is not checked."""
    # a stable sort, not nonzero: nothing has to wait for a GPU to count
    return (~where).int().argsort(dim=1, stable=True)[:, :count]


def packed_tokens(where: Bool[Tensor, "B N"], count: int) -> Int64[Tensor, " T"]:
    """The tokens of `where`, `count` in all, packed; the first again and again up to a round T.

    T is a multiple of a sixteenth of all tokens, so that a compiled network meets few shapes.
    """
    part = -(-where.numel() // PACKED_SIZES)
    size = min(where.numel(), -(-count // part) * part)
    order = (~where).flatten().int().argsort(stable=True)
    places = torch.arange(size, device=where.device)
    return order[places * (places < count)]  # a number within torch.where makes a GPU wait


def active_option(active: ActiveTokens | None) -> dict[str, Any]:
    """The keyword argument of a model's call. There is none for None, which every model takes."""
    return {} if active is None else {"active": active}
