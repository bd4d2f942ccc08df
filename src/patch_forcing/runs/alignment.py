"""What a recipe's alignment needs of encoder and data: features for each step."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.data.batch import Batch, Numbered, Pictured, TrainingData
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.feature_cache import FeatureCache, FeatureKey, write_features
from patch_forcing.data.source import SeveralSizes
from patch_forcing.distributed.ranks import Ranks
from patch_forcing.features.find import find_encoder
from patch_forcing.features.network import FeatureNetwork, MapNetwork
from patch_forcing.runs.recipe import Network, Recipe
from patch_forcing.training.alignment import Alignment, Projector, on_grid
from patch_forcing.training.options import AlignmentConfig
from patch_forcing.views.progress import progress_bar

StepFeatures = Callable[[Batch, int], Tensor]
"""A step's batch and number → features (B, N, F) of its clean images: fp16, unit vectors."""
BATCH = 64
"""Pictures encoded together for a cache."""


@dataclass(frozen=True)
class OpenAlignment:
    """An alignment whose encoder is there: a term of a run.

    encoder: its name. width: of its features.
    """

    config: AlignmentConfig
    encoder: str
    width: int
    inputs: StepFeatures

    @property
    def record(self) -> dict[str, str]:
        """Which encoder it is."""
        return {"encoder": self.encoder}

    def build(self, network: Network) -> Alignment:
        """With a projector freshly initialised."""
        projector = Projector(network.hidden_size, self.config.projector_dim, self.width)
        return Alignment(projector, self.config.block(network.depth), self.config.weight)


def open_alignment(
    recipe: Recipe,
    data: TrainingData,
    device: torch.device | str,
    ranks: Ranks,
    encoder: FeatureNetwork | None = None,
) -> OpenAlignment | None:
    """Find the encoder, and the cache of its features, which is made if it is not there.

    encoder: in place of the one that the recipe names.
    Raises UserError if there is none, it gives no map, the data has no images for it, or the cache
    is another's.
    """
    config = recipe.alignment
    if config.encoder is None:
        if encoder is not None:
            raise UserError("an encoder is given, but alignment.encoder is not: name it there")
        return None
    if isinstance(data, SeveralSizes):
        raise UserError(
            f"alignment.encoder={config.encoder} with data.buckets: images of several sizes are "
            "not aligned: leave one of the two out"
        )
    if config.cache is None:
        _check_images(data)
    elif not isinstance(data, Numbered):
        raise UserError(
            f"alignment.cache={config.cache}: these data have no end, and no cache: leave it out"
        )
    encoder = (find_encoder(config.encoder) if encoder is None else encoder).to(device)
    if not isinstance(encoder, MapNetwork):
        raise UserError(f"{encoder.name} gives one vector an image: choose an encoder of patches")
    grid = recipe.network.config(data).grid
    bf16 = recipe.precision == "bf16"
    width = feature_width(encoder, grid, device)
    if config.cache is None:
        return OpenAlignment(
            config,
            encoder.name,
            width,
            lambda batch, _: unit_features(encoder, batch.x_1, grid, bf16=bf16),
        )
    assert isinstance(data, Numbered)
    folder = Path(config.cache).expanduser()
    if not folder.exists():
        _check_makes(folder, data, ranks)
        assert isinstance(data, Pictured)
        cache_features(folder, encoder, grid, data, device=device, bf16=bf16)
    key = FeatureKey(data.identity, encoder.name, data.num_pictures, *grid, width)
    cache, places = FeatureCache(folder, key), ranks.places(recipe.batch_size)

    def cached(_: Batch, step: int) -> Tensor:
        spec = BatchSpec(step, recipe.batch_size, recipe.seed, places)
        return cache(data.picture_numbers(spec)).to(device)

    return OpenAlignment(config, encoder.name, width, cached)


@torch.no_grad()
def unit_features(
    encoder: MapNetwork,
    images: Float[Tensor, "B C H W"],
    grid: tuple[int, int],
    *,
    bf16: bool = False,
) -> Float[Tensor, "B N F"]:
    """On the grid of the network's patches, of length 1, in fp16; grey images as coloured ones.

    bf16: what the encoder computes in.
    """
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
        values, theirs = encoder.feature_map(images.expand(-1, 3, -1, -1), grid)
    return F.normalize(on_grid(values.float(), theirs, grid), dim=-1).half()


def feature_width(
    encoder: MapNetwork, grid: tuple[int, int], device: torch.device | str = "cpu"
) -> int:
    """F, seen by looking at a black image. Raises UserError if it gives no features."""
    black = torch.full((1, 3, 16 * grid[0], 16 * grid[1]), -1.0, device=device)
    return unit_features(encoder, black, grid).shape[2]


def _check_images(data: TrainingData) -> None:
    latents = data.info.autoencoder is not None or data.info.latent_scale != 1
    if latents or data.shape[0] not in (1, 3):
        raise UserError(
            f"data of {data.shape[0]} channels are latents, which no encoder sees: add "
            "--alignment.cache DIR, with features of their images, as patch-forcing encode "
            "--features makes"
        )


def _check_makes(folder: Path, data: Numbered, ranks: Ranks) -> None:
    if not isinstance(data, Pictured):
        raise UserError(
            f"alignment.cache={folder} is not there, and these data hold no images to make it of: "
            "make it with patch-forcing encode IMAGES --features ENCODER --latents DIR"
        )
    if ranks.world > 1:
        raise UserError(
            f"alignment.cache={folder} is not there: start the command without torchrun first, "
            "which makes it"
        )


def cache_features(
    folder: Path,
    encoder: MapNetwork,
    grid: tuple[int, int],
    images: Pictured,
    numbers: Sequence[int] | None = None,
    identity: str | None = None,
    *,
    device: torch.device | str = "cpu",
    bf16: bool = False,
    progress: bool | None = None,
) -> None:
    """Make a cache: the features of images on `grid`, that of the network's patches.

    numbers: which pictures, in the order in which the data that are trained on number theirs; None:
    all. identity: of these data, if they are not the images themselves but, say, their latents.
    Raises UserError if features are not finite.
    """
    numbers = range(images.num_pictures) if numbers is None else numbers
    width = feature_width(encoder.to(device), grid, device)
    of = images.identity if identity is None else identity
    key = FeatureKey(of, encoder.name, len(numbers), *grid, width)

    def parts() -> Iterator[np.ndarray]:
        with progress_bar(progress, total=len(numbers), unit="image", desc="features") as bar:
            for first in range(0, len(numbers), BATCH):
                pictures = [images.picture(number) for number in numbers[first : first + BATCH]]
                part = np.full((len(pictures), *key.shape[1:]), np.nan, np.float16)
                readable = [x for x in pictures if x is not None]
                if readable:
                    x_1 = torch.stack(readable).to(device)
                    features = unit_features(encoder, x_1, grid, bf16=bf16)
                    if not features.isfinite().all():
                        raise UserError(
                            f"{encoder.name} gives features that are not finite, of pictures "
                            f"{first} to {first + len(pictures) - 1}: choose another encoder"
                        )
                    part[[x is not None for x in pictures]] = features.cpu().numpy()
                yield part
                bar.update(len(pictures))

    write_features(folder, key, parts())
