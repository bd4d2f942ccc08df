"""Representation alignment: hidden tokens learn to resemble a frozen encoder's features.

Yu et al. 2024, "Representation Alignment for Generation" (REPA).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from patch_forcing.core.losses import misalignment


class Projector(nn.Sequential):
    """Tokens → the width of an encoder's features: three linear layers with SiLU between."""

    def __init__(self, hidden_size: int, projector_dim: int, width: int):
        super().__init__(
            nn.Linear(hidden_size, projector_dim),
            nn.SiLU(),
            nn.Linear(projector_dim, projector_dim),
            nn.SiLU(),
            nn.Linear(projector_dim, width),
        )


@dataclass(frozen=True)
class Alignment:
    """A term of the objective: weight · −mean cosine similarity after block `block`."""

    name: ClassVar[str] = "alignment"

    projector: Projector
    block: int
    weight: float = 0.5

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The projector."""
        return {"projector": self.projector}

    def __call__(
        self, tokens: Float[Tensor, "B N D"], inputs: Float[Tensor, "B N F"]
    ) -> Float[Tensor, ""]:
        """−mean cosine similarity of projected tokens with features, not yet weighted."""
        return misalignment(self.projector(tokens), inputs)


def on_grid(
    features: Float[Tensor, "B M F"], grid: tuple[int, int], wanted: tuple[int, int]
) -> Float[Tensor, "B N F"]:
    """Features of one grid (rows, columns) on another, linearly; averaged where it is coarser."""
    if grid == wanted:
        return features
    image = features.float().unflatten(1, grid).movedim(3, 1)  # (B, F, rows, columns)
    image = F.interpolate(image, wanted, mode="bilinear", antialias=True, align_corners=False)
    return image.flatten(2).mT
