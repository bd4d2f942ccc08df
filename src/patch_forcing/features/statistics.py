"""What distances between sets of images need of a set: moments of its features."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from patch_forcing.core.errors import UserError

_WIDE = torch.float64
ROWS = 4096
"""Images whose features are held in fp64 at once."""


@dataclass(frozen=True)
class FeatureStatistics:
    """Mean (F,) and covariance (F, F) of features, fp64, and how many images they are of."""

    mean: Float[Tensor, " F"]
    covariance: Float[Tensor, "F F"]
    count: int

    @classmethod
    def of(cls, features: Float[Tensor, "M F"]) -> "FeatureStatistics":
        """Of features, one row an image. Raises UserError if they are too few or not finite."""
        if len(features) < 2:
            raise UserError(f"{len(features)} images have no covariance: give at least 2")
        if not features.isfinite().all():
            raise UserError("features are not all finite: the images hold NaN or infinite values")
        parts = features.split(ROWS)
        mean = sum((part.double().sum(0) for part in parts), features.new_zeros((), dtype=_WIDE))
        mean = mean / len(features)
        squares = features.new_zeros(2 * features.shape[1:], dtype=_WIDE)
        for part in parts:
            centred = part.double() - mean
            squares += centred.mT @ centred
        return cls(mean, squares / (len(features) - 1), len(features))

    def to(self, device: torch.device | str) -> "FeatureStatistics":
        """The same, on that device, in fp64."""
        mean, covariance = (part.to(device).double() for part in (self.mean, self.covariance))
        return FeatureStatistics(mean, covariance, self.count)
