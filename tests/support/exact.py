"""Fields whose answers are known in closed form, and tiny networks with random weights.

Gaussian data make everything exact: x_1 ~ N(μ, Σ) over patches, x_t = A·x_1 + (I − A)·x_0 with
A = diag(t), so that with S = Cov(x_t) = AΣA + (I − A)² and K = Cov(x_1 − x_0, x_t) = ΣA − (I − A)

    E[x_1 − x_0 | x_t] = μ + K·S⁻¹·(x_t − Aμ),   Cov[x_1 − x_0 | x_t] = Σ + I − K·S⁻¹·Kᵀ,

and with one time for all patches the flow ends at μ + Σ^½·x_0.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

import patch_forcing as pf
from patch_forcing.core.output import ModelOutput
from patch_forcing.sampling.field import Field, FieldOutput


def to_patches(image: Tensor, patch_size: int) -> Tensor:
    """(B, C, H, W) → (B, N, C·P·P), patches row-major."""
    rows = image.unflatten(2, (-1, patch_size)).unflatten(4, (-1, patch_size))  # (B, C, r, P, c, P)
    return rows.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def to_image(patches: Tensor, size: Sequence[int], patch_size: int) -> Tensor:
    """The way back, to (B, C, *size)."""
    rows, cols = size[0] // patch_size, size[1] // patch_size
    grid = patches.unflatten(2, (-1, patch_size, patch_size)).unflatten(1, (rows, cols))
    return grid.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)


def all_channels(output: ModelOutput) -> Tensor:
    """Velocity and, where there is one, log-variance: (B, C + 1, H, W)."""
    parts = [output.velocity] if output.logvar is None else [output.velocity, output.logvar]
    return torch.cat(parts, dim=1)


class Unconditional:
    """What a model without labels answers about conditions."""

    def check_condition(self, condition: Tensor | None, batch: int) -> None:
        if condition is not None:
            raise pf.UserError("give no condition")

    def drop_condition(self, condition: Tensor, dropped: Tensor) -> Tensor:
        raise NotImplementedError


@dataclass(frozen=True)
class IndependentGaussian(Unconditional):
    """Every pixel ~ N(mean, std²) alone."""

    mean: float = 0.3
    std: float = 0.6
    patch_size: int = 2

    def __call__(self, x_t: Tensor, t: pf.PatchTime, condition: Tensor | None) -> ModelOutput:
        time = t.to_dense().double()[..., None].expand(-1, -1, self.patch_size**2)
        time = to_image(time, x_t.shape[-2:], self.patch_size)
        spread = time**2 * self.std**2 + (1 - time) ** 2
        gain = (time * self.std**2 - (1 - time)) / spread
        velocity = self.mean + gain * (x_t - time * self.mean)
        return ModelOutput(velocity.float(), (self.std**2 / spread).log().float())

    def answer(self, x_0: Tensor) -> Tensor:
        return self.mean + self.std * x_0


@dataclass(frozen=True)
class CorrelatedGaussian(Unconditional):
    """Patches ~ N(mean (N,), cov (N, N)), each position within the patch on its own."""

    mean: Tensor
    cov: Tensor
    patch_size: int = 1

    @classmethod
    def random(cls, patches: int, patch_size: int = 1, seed: int = 0) -> "CorrelatedGaussian":
        """Strongly correlated patches of unlike variance."""
        random = torch.Generator().manual_seed(seed)
        root = torch.randn(patches, patches, generator=random, dtype=torch.float64)
        cov = root @ root.T / patches + 0.1 * torch.eye(patches, dtype=torch.float64)
        mean = torch.randn(patches, generator=random, dtype=torch.float64)
        return cls(mean, cov, patch_size)

    def __call__(self, x_t: Tensor, t: pf.PatchTime, condition: Tensor | None) -> ModelOutput:
        time, image = t.to_dense().double().unique(dim=0, return_inverse=True)  # (R, N), (B,)
        eye = torch.eye(len(self.mean), dtype=torch.float64)
        a = torch.diag_embed(time)
        cross = self.cov @ a - (eye - a)
        gain = torch.linalg.solve(a @ self.cov @ a + (eye - a) @ (eye - a), cross.mT).mT
        variance = (self.cov + eye - gain @ cross.mT).diagonal(dim1=1, dim2=2)
        centred = to_patches(x_t.double(), self.patch_size) - (time * self.mean)[image][..., None]
        velocity = self.mean[:, None] + gain[image] @ centred  # (B, N, C·P·P)
        logvar = variance.log()[image][..., None].expand(-1, -1, self.patch_size**2)
        size = x_t.shape[-2:]
        return ModelOutput(
            to_image(velocity, size, self.patch_size).float(),
            to_image(logvar, size, self.patch_size).float(),
        )

    def answer(self, x_0: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(self.cov)
        root = vectors @ values.sqrt().diag() @ vectors.T
        patches = self.mean[:, None] + root @ to_patches(x_0.double(), self.patch_size)
        return to_image(patches, x_0.shape[-2:], self.patch_size)


@dataclass(frozen=True)
class ConstantField:
    """The same velocity (C, H, W) everywhere, and the same difficulty (B, N)."""

    velocity: Tensor
    difficulty: Tensor | None
    patch_size: int

    def __call__(self, x_t: Tensor, t: pf.PatchTime, *, guided: bool = True) -> FieldOutput:
        velocity = self.velocity.expand_as(x_t)
        return FieldOutput(velocity, self.difficulty, 1, velocity)


@dataclass
class SpyField:
    """A field that remembers its calls: images, dense times, whether guided, outputs."""

    field: Field
    x: list[Tensor] = field(default_factory=list)
    t: list[Tensor] = field(default_factory=list)
    guided: list[bool] = field(default_factory=list)
    outputs: list[FieldOutput] = field(default_factory=list)

    @property
    def patch_size(self) -> int:
        return self.field.patch_size

    def __call__(
        self, x_t: Tensor, t: pf.PatchTime, *, guided: bool = True, **more: Any
    ) -> FieldOutput:
        output = self.field(x_t, t, guided=guided, **more)
        self.x.append(x_t)
        self.t.append(t.to_dense())
        self.guided.append(guided)
        self.outputs.append(output)
        return output


def tiny_dit(
    input_size: int | tuple[int, int] = 8, *, seed: int = 0, **sizes: int | bool | str
) -> pf.PatchDiT:
    """A PatchDiT of two blocks whose weights are all random, those that start at zero too."""
    sizes = {"patch_size": 2, "in_channels": 3, "num_classes": 5, **sizes}
    sizes = {"hidden_size": 32, "depth": 2, "num_heads": 4, **sizes}
    model = pf.PatchDiT(pf.PatchDiTConfig(input_size, **sizes))
    random = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        fan_in = weight[0].numel() if weight.ndim > 1 else 4
        noise = torch.randn(weight.shape, generator=random)
        weight.data.copy_(noise / fan_in**0.5)
    return model.eval()


def inputs(model: pf.PatchDiT, batch: int = 3) -> tuple[Tensor, Tensor]:
    config = model.config
    x = torch.randn(batch, config.in_channels, *config.image_size)
    return x, torch.arange(batch) % (config.num_classes + 1)
