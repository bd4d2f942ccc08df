"""What an autoencoder is: images ↔ latents, behind one protocol."""

from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from patch_forcing.models.latent_space import PIXELS, LatentSpace


class Posterior(NamedTuple):
    """A Gaussian over latents, (B, C, h, w), in the autoencoder's own units.

    logvar: None where the encoder is deterministic.
    """

    mean: Float[Tensor, "B C h w"]
    logvar: Float[Tensor, "B C h w"] | None


@runtime_checkable
class Autoencoder(Protocol):
    """A frozen autoencoder. Images are (B, 3, H, W) in [−1, 1], latents in its own units."""

    @property
    def space(self) -> LatentSpace:
        """Its identity: name, hash, channels, factor, scale and shift."""

    def encode(self, images: Float[Tensor, "B 3 H W"]) -> Posterior:
        """H and W are multiples of the factor."""

    def decode(self, z: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 3 H W"]:
        """May leave [−1, 1] a little."""


class Pixels:
    """No autoencoder: pixels are the latents."""

    space = LatentSpace(PIXELS, PIXELS, PIXELS, channels=3, factor=1)

    def encode(self, images: Float[Tensor, "B 3 H W"]) -> Posterior:
        """The images."""
        return Posterior(images, None)

    def decode(self, z: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 3 H W"]:
        """The latents."""
        return z
