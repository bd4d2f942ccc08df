"""Representation alignment: hidden tokens learn to resemble a frozen encoder's features.

Yu et al. 2024, "Representation Alignment for Generation" (REPA).
"""

from dataclasses import dataclass, fields
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from patch_forcing.core.errors import UserError, check_range
from patch_forcing.core.losses import misalignment


@dataclass(frozen=True)
class AlignmentConfig:
    """Alignment of a recipe: none unless an encoder is named."""

    encoder: str | None = None
    """Frozen encoder: dinov2-s, -b, -l or -g; OWNER/NAME on the Hub or a folder, of a vision model
    of transformers; timm:NAME or timm:FOLDER; emoji, the benchmark's own network. Default: no
    alignment."""
    weight: float = 0.5
    """Of the alignment in the loss."""
    depth: int | None = None
    """Tokens after so many blocks are aligned. Default: the network's depth / 3.5, rounded up."""
    projector_dim: int = 2048
    """Width of the projector's two hidden layers."""
    cache: str | None = None
    """Folder of features, made once and then read, beside the data. Default: encoded in each step,
    from its images."""

    def __post_init__(self) -> None:
        check_range("alignment.weight", self.weight, above=0)
        if self.depth is not None:
            check_range("alignment.depth", self.depth, 1)
        check_range("alignment.projector_dim", self.projector_dim, 1)
        for name in ("encoder", "cache"):
            if getattr(self, name) == "":
                raise UserError(f"alignment.{name} is empty: name one, or leave it out")
        for field in fields(self):
            if self.encoder is None and getattr(self, field.name) != field.default:
                raise UserError(
                    f"alignment.{field.name}={getattr(self, field.name)} without an encoder: add "
                    "--alignment.encoder NAME, such as dinov2-b, or leave it out"
                )

    def block(self, depth: int) -> int:
        """After which block of a network of so many tokens are aligned: 8 of 28, 4 of 12.

        Raises UserError if it has no such block.
        """
        if self.depth is None:
            return -(-2 * depth // 7)
        if self.depth > depth:
            raise UserError(
                f"alignment.depth={self.depth}: the network has {depth} blocks: choose 1 to {depth}"
            )
        return self.depth


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
