"""Every recipe of the library, small enough to train in a test, on data of its own kind.

The data are made here and read through the recipe's own source: files of images, a tar, a saved
`datasets`, an emoji atlas, shards of latents, a cache of features.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from patch_forcing.data.atlas import TILE
from patch_forcing.data.batch import TensorData
from patch_forcing.data.latent_shards import CAPTIONED_VERSION, ShardArrays
from patch_forcing.data.sources import (
    Digits,
    EmojiSource,
    EmojiTextSource,
    FolderSource,
    HubSource,
    LatentsSource,
    ShardsSource,
)
from patch_forcing.models.config import DataInfo
from patch_forcing.models.latent_space import LatentSpace
from patch_forcing.runs.alignment import cache_features
from patch_forcing.runs.recipe import Recipe
from patch_forcing.runs.recipes import RECIPES
from patch_forcing.training.options import TextConfig
from tests.support.emoji_font import save_atlas, tiny_atlas
from tests.support.feature_networks import encoder_of
from tests.support.image_files import encoded, shard
from tests.support.latents import write_latents
from tests.support.things import grey_things

COUNT, SIDE = 12, 8
"""How many images or latents there are, and their height and width."""
SPACE = LatentSpace("tiny", "Tiny", "abc", 4, 8, (0.5,), (0.1,))


def small(name: str, folder: Path, steps: int) -> Recipe:
    """The recipe with its own optimizer, times, precision and kind of data, shrunk.

    The learning rate suits so few steps; the average forgets over the same share of the run.
    folder: where the data are made, once.
    """
    recipe = RECIPES[name].recipe
    data, network, alignment = made(recipe.data, folder), recipe.network, recipe.alignment
    patch_size = network.patch_size
    if isinstance(data, EmojiSource | EmojiTextSource) and patch_size is not None:
        patch_size = patch_size * data.size // type(data).size
    if alignment.encoder is not None:
        cache = str(_features(folder, data)) if isinstance(data, LatentsSource) else None
        alignment = replace(alignment, projector_dim=16, cache=cache)
    text = recipe.text
    if network.condition == "text":  # read as bytes, since an encoder would have to be downloaded
        text = TextConfig(length=12)
    return replace(
        recipe,
        data=data,
        text=text,
        network=replace(
            network,
            patch_size=patch_size,
            hidden_size=network.num_heads * (8 if network.num_heads < 8 else 4),
            depth=-(-network.depth // 12),
        ),
        alignment=alignment,
        optimizer=replace(recipe.optimizer, lr=0.005, warmup_steps=2),
        steps=steps,
        batch_size=16,
        ema_decay=recipe.ema_decay ** (recipe.steps / steps),
        snapshot_every=steps,
        checkpoint_every=steps,
        log_every=1,
        sample_every=0,
        compile=False,  # which takes longer than all steps together
        deterministic=True,
    )


def made(source: Any, folder: Path) -> Any:
    """The source, of data that are made in the folder unless they are there.

    Raises NotImplementedError for a source of a new kind.
    """
    kind = type(source)
    if kind is Digits:  # which come with scikit-learn
        return source
    if kind not in MAKERS:
        raise NotImplementedError(f"nothing makes {kind.__name__}'s data: add it to MAKERS")
    place = folder / kind.__name__
    if not place.exists():
        place.mkdir(parents=True)
        MAKERS[kind](place)
    drawn = kind in (EmojiSource, EmojiTextSource)
    return replace(source, path=str(place), **({"size": 2 * SIDE} if drawn else {}))


def pictures() -> np.ndarray:
    """Discs on slopes of two colours each, (COUNT, SIDE, SIDE, 3) uint8; no two are alike."""
    number = np.arange(COUNT)[:, None, None, None]
    y, x, channel = np.mgrid[:SIDE, :SIDE, :3]
    slope = (16 * x + 12 * y * (channel - 1) + 20 * channel + 9 * number) % 256
    disc = (x - 2 - number % 4) ** 2 + (y - 2 - number // 4) ** 2 < 6
    return np.where(disc, 250 - 60 * channel, slope).astype(np.uint8)


def _images(place: Path) -> None:
    """In a folder for each of two classes."""
    for number, picture in enumerate(pictures()):
        file = place / "ab"[number % 2] / f"{number:02d}.png"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(encoded(picture))


def _tar(place: Path) -> None:
    members = {}
    for number, picture in enumerate(pictures()):
        members[f"{number:02d}.png"] = encoded(picture)
        members[f"{number:02d}.cls"] = b"%d" % (number % 2)
    shard(place / "images.tar", members)


def _saved(place: Path) -> None:
    import datasets

    images = [Image.fromarray(picture) for picture in pictures()]
    labels = [number % 2 for number in range(COUNT)]
    datasets.Dataset.from_dict({"image": images, "label": labels}).save_to_disk(place)


def _atlas(place: Path) -> None:
    """Ellipses with a translucent disc, in two classes."""
    y, x = np.mgrid[:TILE, :TILE] - TILE // 2
    tiles = np.zeros((4, TILE, TILE, 4), np.uint8)
    for number, tile in enumerate(tiles):
        tile[x**2 + (1 + number) * y**2 < 3600] = (60 * number, 200 - 50 * number, 40, 255)
        tile[x**2 + y**2 < 200 * number] = (250, 30, 60 * number, 160)
    save_atlas(place, tiny_atlas(*tiles))


def _things(place: Path) -> None:
    save_atlas(place, grey_things())


def _latents(place: Path) -> None:
    """Two shards of smooth means, of another slope in each of three classes, with little spread."""
    numbers = np.arange(COUNT)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE - 0.5
    slope = (1 + numbers % 3)[:, None, None, None] * np.stack([x, y, x + y, x * y])
    means = 2 * slope + 0.1 * numbers[:, None, None, None]
    logvar = np.full_like(means, -4)
    rows, mirrored = (
        np.concatenate([copy, logvar], axis=1).astype(np.float16)
        for copy in (means, means[..., ::-1])
    )
    arrays = (rows, mirrored, numbers % 3, numbers)
    halves = [
        ShardArrays(*(one[half] for one in arrays), [f"slope {n % 3}" for n in half])
        for half in np.split(numbers, 2)
    ]
    named = {"class_names": ("a", "b", "c"), "format_version": CAPTIONED_VERSION}
    write_latents(place, halves, SPACE, **named)


def _features(folder: Path, source: LatentsSource) -> Path:
    """Features of images that go with the latents and their mirror images."""
    place = folder / "features"
    if not place.exists():
        images = torch.from_numpy(pictures()).movedim(3, 1).float() / 127.5 - 1
        both = torch.cat([images, images.flip(-1)])
        data = TensorData(both, torch.zeros(len(both), dtype=torch.int64), 0, DataInfo())
        grid = (SIDE // 2, SIDE // 2)
        cache_features(place, encoder_of(), grid, data, identity=source.open().identity)
    return place


MAKERS: dict[type, Callable[[Path], None]] = {
    FolderSource: _images,
    ShardsSource: _tar,
    HubSource: _saved,
    EmojiSource: _atlas,
    EmojiTextSource: _things,
    LatentsSource: _latents,
}
"""What makes each kind of data in a folder."""
