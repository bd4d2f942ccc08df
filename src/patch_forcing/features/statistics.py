"""What distances between sets of images need of a set: moments of its features."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from patch_forcing.core.errors import UserError


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
        wide = features.double()
        return cls(wide.mean(0), torch.cov(wide.T).reshape(2 * wide.shape[1:]), len(wide))
