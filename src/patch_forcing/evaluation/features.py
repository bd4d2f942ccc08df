"""Images → the vectors that metrics compare, by any feature network."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from patch_forcing.features.batches import float_batches
from patch_forcing.features.network import FeatureNetwork


def image_features(
    network: FeatureNetwork,
    images: UInt8[Tensor, "M 3 H W"],
    device: torch.device | str = "cpu",
    batch_size: int = 1000,
) -> Float[Tensor, "M F"]:
    """Vectors of images as files hold them, in fp32 on the CPU; device: where the network is."""
    parts = [
        network.features(part).float().cpu() for part in float_batches(images, device, batch_size)
    ]
    return torch.cat(parts)
