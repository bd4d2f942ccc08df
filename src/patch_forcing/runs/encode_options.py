"""How images become latents, which needs no torch to be read."""

from dataclasses import dataclass
from typing import Literal

from patch_forcing.core.errors import check_range
from patch_forcing.data.image_options import Fit


@dataclass(frozen=True)
class EncodeOptions:
    """How images become latents."""

    size: int = 256
    """Height and width of the images, a multiple of the autoencoder's factor."""
    fit: Fit = "crop"
    """crop: the middle of each image; pad: all of it, on white. The aspect is always kept."""
    flip: bool = True
    """Encode each image mirrored too: latents cannot be mirrored afterwards. Twice the work and the
    space."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """What the autoencoder computes in."""
    batch_size: int = 64
    """Images encoded at once; changes speed, memory and rounding only."""
    shard_size: int = 8192
    """Images a shard, which is what a stopped encoding loses at most."""
    max_bad_share: float = 0.01
    """Stop when more of the images looked at cannot be read, and more than 10."""

    def __post_init__(self) -> None:
        for name in ("size", "batch_size", "shard_size"):
            check_range(name, getattr(self, name), 1)
        check_range("max_bad_share", self.max_bad_share, 0, 1)
