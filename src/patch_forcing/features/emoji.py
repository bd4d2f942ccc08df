"""The emoji feature network: names the emoji of a scene, and its last layers measure scenes.

It comes with the package, trained by benchmarks/emoji/features.py, with the statistics of real
scenes: so samples can be measured without the atlas.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import torch
from jaxtyping import Float, Int64, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from patch_forcing.core.errors import UserError
from patch_forcing.features.batches import float_batches
from patch_forcing.features.module_encoder import ModuleEncoder
from patch_forcing.features.names import CONFIG, EMOJI, EMOJI_FOLDER
from patch_forcing.features.network import Grid, PatchFeatures
from patch_forcing.features.statistics import FeatureStatistics

SIZE = 64
"""Height and width of the images that the network sees; others are resized."""
_WIDTHS = (48, 96, 128, 144)
_BLOCKS = (1, 2, 2, 2)
_WEIGHTS = "features.safetensors"

_conv = partial(nn.Conv2d, kernel_size=3, padding=1, bias=False)


class _Residual(nn.Module):
    """Two convolutions beside a shortcut (He et al. 2016)."""

    def __init__(self, channels: int, width: int, stride: int):
        super().__init__()
        self.conv1, self.norm1 = _conv(channels, width, stride=stride), nn.BatchNorm2d(width)
        self.conv2, self.norm2 = _conv(width, width), nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != width:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride), nn.Conv2d(channels, width, 1, bias=False)
            )

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        inner = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(inner)) + self.shortcut(x))


class EmojiNet(nn.Module):
    """A small residual network: (B, 3, 64, 64) in [−1, 1] → features (B, 144), and names.

    num_drawings: how many different drawings there are to name.
    """

    def __init__(self, num_drawings: int):
        super().__init__()
        channels = 32
        layers: list[nn.Module] = [_conv(3, channels), nn.BatchNorm2d(channels), nn.ReLU()]
        for width, blocks in zip(_WIDTHS, _BLOCKS, strict=True):
            for block in range(blocks):
                layers.append(_Residual(channels, width, stride=2 if block == 0 else 1))
                channels = width
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(channels, num_drawings)

    def forward(self, x: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B F"]:
        return self.body(x)


@dataclass(frozen=True)
class Reading:
    """What the network sees in M images: features (M, 144), drawing and class (M,) of each."""

    features: Float[Tensor, "M F"]
    drawings: Int64[Tensor, " M"]
    classes: Int64[Tensor, " M"]


@dataclass(frozen=True)
class EmojiFeatures:
    """The network with what its numbers mean; a feature network of vectors and of a map, 4×4.

    classes: (drawings,) the class of each drawing. class_names: the emoji's subgroups.
    reference: of real scenes. atlas: which atlas all this belongs to.
    """

    network: EmojiNet
    classes: Int64[Tensor, " drawings"]
    class_names: tuple[str, ...]
    reference: FeatureStatistics
    atlas: str

    def to(self, device: torch.device | str) -> "EmojiFeatures":
        """The same, computing on that device."""
        return EmojiFeatures(
            self.network.to(device),
            self.classes.to(device),
            self.class_names,
            self.reference,
            self.atlas,
        )

    @property
    def size(self) -> Grid:
        """Height and width of the images that the network sees."""
        return SIZE, SIZE

    @cached_property
    def name(self) -> str:
        """emoji, and a hash of the weights."""
        digest = hashlib.sha256()
        for weights in self.network.state_dict().values():
            digest.update(weights.cpu().contiguous().numpy().tobytes())
        return f"{EMOJI} {digest.hexdigest()[:16]}"

    resize = f"bilinear, antialiased, to {SIZE}×{SIZE}"

    @torch.no_grad()
    def probabilities(self, vectors: Float[Tensor, "B F"]) -> Float[Tensor, "B K"]:
        """Of each drawing, from vectors of this network."""
        chances: Tensor = self.network.head(vectors.to(self.network.head.weight)).softmax(1)
        return chances

    @torch.no_grad()
    def features(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B F"]:
        """Of images in [−1, 1]. Sizes other than 64 × 64 are resized."""
        if images.shape[-2:] != self.size:
            images = F.interpolate(images, self.size, mode="bilinear", antialias=True)
        vectors: Tensor = self.network(images)
        return vectors

    def feature_map(self, images: Float[Tensor, "B 3 H W"], grid: Grid) -> PatchFeatures:
        """The network's last map less its mean over real scenes, on a grid of its own.

        Behind a ReLU all its features would point one way.
        """
        return self._encoder.feature_map(images, grid)

    @cached_property
    def _encoder(self) -> ModuleEncoder:
        encoder = ModuleEncoder(_CentredMap(self), self.name, size=self.size)
        return encoder.to(self.classes.device)

    @torch.no_grad()
    def read(self, images: UInt8[Tensor, "M 3 H W"], batch_size: int = 1000) -> Reading:
        """Features and names of images, on the CPU. Sizes other than 64 × 64 are resized."""
        features, drawings = [], []
        for part in float_batches(images, self.classes.device, batch_size):
            vectors = self.features(part)
            features.append(vectors.cpu())
            drawings.append(self.network.head(vectors).argmax(dim=1).cpu())
        drawn = torch.cat(drawings)
        return Reading(torch.cat(features), drawn, self.classes.cpu()[drawn])

    def save(self, folder: Path) -> None:
        """Write the folder that `load_emoji_features` reads; weights in fp16."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {
            f"network.{name}": tensor.half() if tensor.is_floating_point() else tensor
            for name, tensor in self.network.state_dict().items()
        }
        tensors |= {
            "classes": self.classes,
            "reference.mean": self.reference.mean,
            "reference.covariance": self.reference.covariance,
        }
        save_file({name: t.cpu().contiguous() for name, t in tensors.items()}, folder / _WEIGHTS)
        config = {
            "format": 1,
            "atlas": self.atlas,
            "reference_count": self.reference.count,
            "class_names": self.class_names,
        }
        text = json.dumps(config, ensure_ascii=False, indent=1)
        (folder / CONFIG).write_text(text + "\n", encoding="utf-8")


class _CentredMap(nn.Module):
    """The network up to the mean over its last map, less that map's mean over real scenes."""

    def __init__(self, features: EmojiFeatures):
        super().__init__()
        self.layers = features.network.body[:-2]
        self.mean: Tensor
        self.register_buffer("mean", features.reference.mean.float()[:, None, None])

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B F h w"]:
        centred: Tensor = self.layers(images) - self.mean
        return centred


def load_emoji_features(
    folder: Path = EMOJI_FOLDER, device: torch.device | str = "cpu"
) -> EmojiFeatures:
    """The feature network that comes with the package, or another one.

    Raises UserError if the folder does not hold one.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        tensors = load_file(folder / _WEIGHTS)
        weights = {
            name.removeprefix("network."): tensor.float() if tensor.is_floating_point() else tensor
            for name, tensor in tensors.items()
            if name.startswith("network.")
        }
        network = EmojiNet(len(tensors["classes"]))
        network.load_state_dict(weights)
        reference = FeatureStatistics(
            tensors["reference.mean"], tensors["reference.covariance"], config["reference_count"]
        )
        names, atlas = tuple(config["class_names"]), config["atlas"]
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{folder} holds no emoji feature network ({reason}): install the package again"
        ) from None
    network.eval().requires_grad_(False)
    features = EmojiFeatures(network, tensors["classes"], names, reference, atlas)
    return features.to(device)
