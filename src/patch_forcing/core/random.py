"""Counted randomness: every number is a function of (seed, step, sample), never of history.

So what a sample sees does not depend on resuming, resharding or the batch size, and no generator
state is saved. The bits are those of Philox-4x32-10 (Salmon et al., "Parallel Random Numbers: As
Easy as 1, 2, 3", SC 2011). Integer tensor operations compute the same bits on every device.
"""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from patch_forcing.core.devices import to_device

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10


def philox(counter: Int64[Tensor, "*n 4"], key: Int64[Tensor, "*#n 2"]) -> Int64[Tensor, "*n 4"]:
    """Philox-4x32-10 makes four 32-bit words of four counter words and two key words.

    Words are held in int64, whose high halves hold anything between the rounds: only factors are
    masked. The 64-bit product may wrap, but its bits are right: arithmetic modulo 2^64 does not
    depend on the sign, and the mask drops the sign bits that the shift brings in.
    """
    c0, c1, c2, c3 = counter.unbind(-1)
    k0, k1 = key.unbind(-1)
    for _ in range(_ROUNDS):
        first, second = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        # in place, as the shift made a new tensor
        c0 = (second >> 32).bitwise_xor_(c1).bitwise_xor_(k0).bitwise_and_(_MASK)
        c2 = (first >> 32).bitwise_xor_(c3).bitwise_xor_(k1).bitwise_and_(_MASK)
        c1, c3 = second, first
        k0, k1 = k0 + _KEY_STEPS[0], k1 + _KEY_STEPS[1]
    return torch.stack([c0, c1 & _MASK, c2, c3 & _MASK], dim=-1)


class CountedGenerator:
    """One independent stream of numbers for every row of a batch.

    The numbers of row i depend on seeds[i], ids[i], `step` and the number of draws before, and on
    no other row. As with `torch.Generator`, each draw moves on to new numbers.

    seeds: one for each row, or one for all rows, 0 ≤ seed < 2^63.
    ids: the sample that a row holds, where rows share a seed (training), 0 ≤ id < 2^32.
    step: the training step, one for all rows or one for each.
    """

    def __init__(
        self,
        seeds: int | Sequence[int] | Int64[Tensor, "..."],
        ids: Sequence[int] | Int64[Tensor, " B"] = (0,),
        step: int | Int64[Tensor, "..."] = 0,
        device: torch.device | str | None = None,
    ):
        # the step is a tensor too, so that a compiled training step is compiled once
        self.seeds, self.ids, self.step = torch.broadcast_tensors(
            *(_words(numbers, device) for numbers in (seeds, ids, step))
        )
        self._purpose = 0
        self._draws = 0

    def fork(self, purpose: str) -> "CountedGenerator":
        """New streams of the same samples for one purpose, independent of these streams.

        They depend on the purpose alone: a second fork for the same purpose starts again.
        """
        child = CountedGenerator(self.seeds, self.ids, self.step)
        child._purpose = _crc32(purpose, self._purpose)
        return child

    def _bits(self, count: int) -> Int64[Tensor, "B {count}"]:
        """The next `count` 32-bit words of each row."""
        blocks = torch.arange((count + 3) // 4, device=self.ids.device)
        rows = self.ids[:, None].expand(-1, len(blocks))
        counter = torch.stack(
            [
                blocks.expand_as(rows),
                torch.full_like(rows, (self._purpose + self._draws) & _MASK),
                (self.step & _MASK)[:, None].expand_as(rows),
                rows & _MASK,
            ],
            dim=-1,
        )
        key = torch.stack([self.seeds & _MASK, (self.seeds >> 32) & _MASK], dim=-1)
        self._draws += 1
        return philox(counter, key[:, None]).flatten(1)[:, :count]

    def uniform(self, *shape: int) -> Float[Tensor, "B ..."]:
        """fp32 numbers (B, *shape) in (0, 1), ends excluded: exactly (23 bits + ½)·2^−23."""
        bits = self._bits(math.prod(shape)) >> 9
        return ((bits.float() + 0.5) * 2.0**-23).view(len(bits), *shape)

    def normal(self, *shape: int) -> Float[Tensor, "B ..."]:
        """fp32 standard normal numbers (B, *shape), by the transform of Box and Muller."""
        count = math.prod(shape)
        half = (count + 1) // 2
        u, w = widen(self.uniform(2 * half)).split(half, dim=1)
        radius, angle = (-2 * u.log()).sqrt(), 2 * math.pi * w
        pairs = torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)
        return pairs[:, :count].reshape(len(pairs), *shape).float()


def widen(x: Tensor) -> Tensor:
    """Widens to fp64 on a CPU, before logarithms and the like that are rounded to fp32 after.

    A CPU computes most numbers in vectors and the rest one by one, with other last bits. A number
    would then depend on its place in the batch. Rounded from fp64 it practically never does.
    """
    return x.double() if x.device.type == "cpu" else x


def _words(
    numbers: int | Sequence[int] | Tensor, device: torch.device | str | None
) -> Int64[Tensor, "..."]:
    if isinstance(numbers, int):  # filled in there: a copy would make a GPU wait
        return torch.full((), numbers, dtype=torch.int64, device=device)
    words = torch.as_tensor(numbers, dtype=torch.int64)
    return words if device is None else to_device(words, device)


def _crc32(text: str, start: int) -> int:
    """zlib.crc32 of a zero byte and `text`. It is Python, so that torch.compile can trace it."""
    crc = ~start & _MASK
    for byte in (0, *text.encode()):
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0xEDB88320 if crc & 1 else 0)
    return ~crc & _MASK


Generator = torch.Generator | CountedGenerator | None
"""Where random numbers come from: one stream of torch, or a counted stream for each row."""


def draw_uniform(
    generator: Generator, batch: int, *shape: int, device: torch.device | str | None = None
) -> Float[Tensor, "B ..."]:
    """fp32 uniform numbers (batch, *shape) in [0, 1)."""
    if isinstance(generator, CountedGenerator):
        return _rows(generator.uniform(*shape), batch, device)
    return _stream(torch.rand, generator, (batch, *shape), device)


def draw_normal(
    generator: Generator, batch: int, *shape: int, device: torch.device | str | None = None
) -> Float[Tensor, "B ..."]:
    """fp32 standard normal numbers (batch, *shape)."""
    if isinstance(generator, CountedGenerator):
        return _rows(generator.normal(*shape), batch, device)
    return _stream(torch.randn, generator, (batch, *shape), device)


def _rows(drawn: Tensor, batch: int, device: torch.device | str | None) -> Tensor:
    """Raises ValueError if the generator has another number of rows than the batch."""
    if len(drawn) != batch:
        raise ValueError(f"a generator of {len(drawn)} rows cannot draw for a batch of {batch}")
    return drawn.to(device)


def _stream(
    draw: Callable[..., Tensor],
    generator: torch.Generator | None,
    shape: tuple[int, ...],
    device: torch.device | str | None,
) -> Tensor:
    """Draws on the generator's own device."""
    home = None if generator is None else generator.device
    return draw(shape, generator=generator, device=home).to(device)
