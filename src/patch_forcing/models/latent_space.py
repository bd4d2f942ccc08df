"""Which autoencoder latents belong to, and how its numbers become those that a network sees."""

from dataclasses import dataclass
from math import isfinite, isqrt
from typing import Any

from patch_forcing.core.errors import UserError, check_range


@dataclass(frozen=True)
class LatentSpace:
    """The identity of an autoencoder; goes with latents and with models trained on them.

    name: where it was found: a Hub id, a folder, or "pixels". kind: its class. hash: of its config
    and of the weights that make latents, not of its decoder; empty where it is not known, as of
    published checkpoints.
    channels: of a latent. factor: pixels along the side of a latent's cell.
    scale, shift: the network sees (z − shift)·scale. One number for all, one for each channel, or
    p² for each channel: those of a p×p tile of cells, row-major, that is laid out over the latent.
    FLUX.2 normalises so (p = 2): its statistics are those of 2×2 cells taken as one.
    """

    name: str
    kind: str
    hash: str
    channels: int
    factor: int
    scale: tuple[float, ...] = (1.0,)
    shift: tuple[float, ...] = (0.0,)

    def __post_init__(self) -> None:
        for field in ("name", "kind", "hash"):
            if not isinstance(getattr(self, field), str):
                raise UserError(f"LatentSpace: {field}={getattr(self, field)!r}: give a text")
        for field in ("channels", "factor"):
            check_range(f"LatentSpace: {field}", getattr(self, field), 1, whole=True)
        for field in ("scale", "shift"):
            numbers = getattr(self, field)
            if not all(isinstance(x, int | float) and isfinite(x) for x in numbers):
                raise UserError(f"LatentSpace: {field}={numbers} are not all finite numbers")
            if len(numbers) != 1 and self.tile(len(numbers)) is None:
                raise UserError(
                    f"LatentSpace: {len(numbers)} numbers as {field} for {self.channels} channels: "
                    "give one, one for each channel, or p² for each"
                )
        for number in self.scale:
            check_range("LatentSpace: scale", number, above=0)

    def tile(self, count: int) -> int | None:
        """p, where so many numbers are p² for each channel; None where they are not."""
        area, rest = divmod(count, self.channels)
        side = isqrt(area)
        return side if area and not rest and side * side == area else None

    def mismatch(self, other: "LatentSpace") -> str | None:
        """How another autoencoder differs, in a few words; None if it is the same one.

        Not by its name: a copy elsewhere is the same. A hash that either lacks matches any.
        """
        fields = ("kind", "channels", "factor", "hash", "scale", "shift")
        for field in fields:
            ours, theirs = getattr(self, field), getattr(other, field)
            if ours != theirs and (field != "hash" or (ours and theirs)):
                return f"{field} {_brief(theirs)}, not {_brief(ours)}"
        return None


STABLE_DIFFUSION = LatentSpace(
    "stabilityai/sd-vae-ft-ema", "AutoencoderKL", "", channels=4, factor=8, scale=(0.18215,)
)
"""What published models of ImageNet are trained on, as far as they say so: -ft-mse has the same
encoder, so the same latents."""
PIXELS = "pixels"
"""The name of no autoencoder at all: latents are pixels in [−1, 1]."""


def latent_space(stored: dict[str, Any]) -> LatentSpace:
    """As JSON gives it back. Raises UserError or TypeError if it is none."""
    numbers = {name: tuple(stored[name]) for name in ("scale", "shift")}
    return LatentSpace(**{**stored, **numbers})


def _brief(value: object) -> str:
    text = str(value[0] if isinstance(value, tuple) and len(value) == 1 else value)
    return text if len(text) <= 60 else f"{text[:57]}…"
