"""TAEF2: a tiny autoencoder distilled from FLUX.2's, 32 channels, an eighth of the side.

By Ollin Boer Bohan (madebyollin/taesd, MIT), in one file of safetensors: the tensors encoder.I.…
and decoder.I.…, where I is the place in a sequence of layers.

    block:    x → relu(x + c(x)), c = conv, relu, conv, relu, conv
    pooled:   the same of x + p(x), p = 1×1 conv, group norm, relu, 1×1 conv
    encoder:  conv, block, three times (conv of stride 2, three blocks), conv; the last are pooled
    decoder:  3·tanh(z/3), conv, relu, three pooled blocks, upsample, conv, three blocks, upsample,
              conv, three blocks, upsample, conv, block, conv
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from patch_forcing.codecs.autoencoder import Posterior
from patch_forcing.codecs.weights import weights_hash
from patch_forcing.core.errors import UserError
from patch_forcing.models.latent_space import LatentSpace

KIND, FACTOR = "TAEF2", 8
_FIRST, _LAST = "encoder.0.weight", "encoder.14.weight"
"""The layers whose shapes say how wide the network and its latents are."""
_GROUPS, _WIDER = 4, 4
_LIMIT = 3.0
"""Latents beyond it are drawn in before they are decoded."""


class TinyAutoencoder(nn.Module):
    """The networks alone: images (B, 3, H, W) in [0, 1] ↔ latents (B, channels, H/8, W/8)."""

    def __init__(self, width: int = 64, channels: int = 32):
        """width: a multiple of 4."""
        super().__init__()

        def blocks(count: int, pooled: bool = False) -> list[nn.Module]:
            return [_Block(width, pooled) for _ in range(count)]

        def down() -> nn.Module:
            return _conv(width, width, stride=2, bias=False)

        def up() -> list[nn.Module]:
            return [nn.Upsample(scale_factor=2), _conv(width, width, bias=False)]

        self.encoder = nn.Sequential(
            _conv(3, width),
            *blocks(1),
            down(),
            *blocks(3),
            down(),
            *blocks(3),
            down(),
            *blocks(3, pooled=True),
            _conv(width, channels),
        )
        self.decoder = nn.Sequential(
            _DrawnIn(),
            _conv(channels, width),
            nn.ReLU(),
            *blocks(3, pooled=True),
            *up(),
            *blocks(3),
            *up(),
            *blocks(3),
            *up(),
            *blocks(1),
            _conv(width, 3),
        )


class TAEF2:
    """TAEF2 as one of this library's autoencoders, frozen, fp32; its latents have no spread."""

    def __init__(self, place: str, file: Path, device: torch.device | str = "cpu"):
        """place: where it lies, as it is stored with latents; file: the same on this disk.

        Raises UserError if the file is not TAEF2's.
        """
        tensors = _read(file)
        self._network = _network(file, tensors)
        channels = len(tensors[_LAST])
        self.space = LatentSpace(place, KIND, weights_hash(KIND, file), channels, FACTOR)
        self._network.to(device)
        if torch.device(device).type == "cpu":
            convert_conv2d_weight_memory_format(self._network, torch.channels_last)

    @torch.no_grad()
    def encode(self, images: Float[Tensor, "B 3 H W"]) -> Posterior:
        """Latents, as the mean of a posterior without spread."""
        mean: Tensor = self._network.encoder((images + 1) / 2)
        return Posterior(mean.float(), None)

    @torch.no_grad()
    def decode(self, z: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 3 H W"]:
        """The images."""
        images: Tensor = self._network.decoder(z)
        return images.float() * 2 - 1


class _Block(nn.Module):
    """Three convolutions beside a shortcut; pooled: each place also sees the whole by a norm."""

    def __init__(self, width: int, pooled: bool):
        super().__init__()
        self.conv = nn.Sequential(
            _conv(width, width), nn.ReLU(), _conv(width, width), nn.ReLU(), _conv(width, width)
        )
        self.pool: nn.Module | None = None
        if pooled:
            self.pool = nn.Sequential(
                nn.Conv2d(width, _WIDER * width, 1, bias=False),
                nn.GroupNorm(_GROUPS, _WIDER * width),
                nn.ReLU(),
                nn.Conv2d(_WIDER * width, width, 1, bias=False),
            )

    def forward(self, x: Float[Tensor, "B D h w"]) -> Float[Tensor, "B D h w"]:
        if self.pool is not None:
            x = x + self.pool(x)
        return F.relu(x + self.conv(x))


class _DrawnIn(nn.Module):
    def forward(self, z: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        return _LIMIT * torch.tanh(z / _LIMIT)


def _conv(channels: int, width: int, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(channels, width, 3, stride, padding=1, bias=bias)


def _read(file: Path) -> dict[str, Tensor]:
    try:
        tensors = load_file(file)
    except (OSError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{file} cannot be read ({reason}): copy it again") from None
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise UserError(f"{file}: {name!r} holds NaN or infinity: copy it again")
    return tensors


def _network(file: Path, tensors: dict[str, Tensor]) -> TinyAutoencoder:
    """The network of these tensors, in evaluation mode. Raises UserError if they are others'."""
    other = f"{file} is no TAEF2"
    mend = "give its file, or the folder of another autoencoder"
    for name in (_FIRST, _LAST):
        if name not in tensors or tensors[name].ndim != 4:
            raise UserError(f"{other}: it lacks the tensor {name!r}: {mend}")
    width, channels = len(tensors[_FIRST]), len(tensors[_LAST])
    if width % _GROUPS or not channels:
        raise UserError(f"{other}: {_FIRST!r} has {width} channels: {mend}")
    network = TinyAutoencoder(width, channels)
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    for name in sorted(shapes.keys() ^ tensors.keys()):
        has = "lacks the tensor" if name in shapes else "holds a tensor of another network,"
        raise UserError(f"{other}: it {has} {name!r}: {mend}")
    for name, shape in shapes.items():
        if tensors[name].shape != shape:
            here, wanted = (list(one) for one in (tensors[name].shape, shape))
            raise UserError(f"{other}: {name!r} is {here}, not {wanted}: {mend}")
    network.load_state_dict(tensors)  # fp16 becomes fp32
    return network.requires_grad_(False).eval()
