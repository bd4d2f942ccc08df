"""The linear path between noise and data, with per-patch time."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from patch_forcing.core.patches import spread
from patch_forcing.core.time import PatchTime

Image = Float[Tensor, "B C H W"]


@dataclass(frozen=True)
class LinearPath:
    """x_t = t·x_1 + (1 − t)·x_0 with velocity x_1 − x_0 (linear flow matching, Lipman 2023)."""

    patch_size: int

    def spread(self, t: PatchTime, like: Image) -> Float[Tensor, "B 1 H W"]:
        """Gives every pixel of an image shaped as `like` the time of its patch."""
        return spread(t.to_dense(), like.shape[-2:], self.patch_size)

    def interpolate(self, x_0: Image, x_1: Image, t: PatchTime) -> Image:
        """The point on the path: x_t = t·x_1 + (1 − t)·x_0."""
        t_pixel = self.spread(t, x_1)
        return t_pixel * x_1 + (1 - t_pixel) * x_0

    def velocity(self, x_0: Image, x_1: Image) -> Image:
        """The training target: v* = x_1 − x_0."""
        return x_1 - x_0

    def predict_data(self, x_t: Image, velocity: Image, t: PatchTime) -> Image:
        """One-step prediction of the data: x̂_1 = x_t + (1 − t)·v."""
        return x_t + (1 - self.spread(t, x_t)) * velocity

    def predict_noise(self, x_t: Image, velocity: Image, t: PatchTime) -> Image:
        """One-step prediction of the noise: x̂_0 = x_t − t·v."""
        return x_t - self.spread(t, x_t) * velocity
