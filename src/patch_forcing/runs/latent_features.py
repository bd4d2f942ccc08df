"""Features of the images that latents were made of, for alignment."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from patch_forcing.core.errors import UserError
from patch_forcing.data.image_data import ImageData
from patch_forcing.data.latent_shards import PLAN, read_index
from patch_forcing.data.latents import LatentData
from patch_forcing.data.sources import LatentsSource
from patch_forcing.features.network import MapNetwork
from patch_forcing.runs.alignment import cache_features


class LatentImages:
    """The latents of a folder beside their images.

    flip: whether mirrored ones are shown, if the latents have them.
    """

    def __init__(self, folder: Path, flip: bool, open_images: Callable[..., ImageData]):
        """open_images: called with size, fit, flip and channels, as the latents were made.

        Raises UserError if the latents are not there, or of other images.
        """
        mirrored = flip and read_index(folder).mirrored
        self.latents: LatentData = LatentsSource(str(folder), flip=mirrored).open()
        plan = _plan(folder)
        self.images = open_images(size=plan["size"], fit=plan["fit"], flip=mirrored, channels=3)
        images = (self.images.layout.identity, self.images.num_samples)
        if images != (plan["names"], plan["images"]):
            raise UserError(
                f"{folder} was not made of {self.images.place}, or it has changed since: its "
                f"{self.images.num_samples} images are not the {plan['images']} that were encoded"
            )

    def cache(
        self,
        out: Path,
        encoder: MapNetwork,
        patch_size: int,
        device: torch.device | str = "cpu",
        bf16: bool = False,
    ) -> None:
        """Write the features of all of them, on the grid of patches of so many cells."""
        grid = self.grid(patch_size)
        numbers, latents = self.latents.image_numbers, self.latents
        if latents.num_pictures > latents.num_samples:
            numbers = numbers + [number + self.images.num_samples for number in numbers]
        cache_features(
            out,
            encoder,
            grid,
            self.images,
            numbers,
            latents.identity,
            device=device,
            bf16=bf16,
        )

    def grid(self, patch_size: int) -> tuple[int, int]:
        """Patches down and across. Raises UserError if they do not cover a latent."""
        _, height, width = self.latents.shape
        if patch_size < 1 or height % patch_size or width % patch_size:
            raise UserError(
                f"--patch-size {patch_size}: latents of {height}×{width} are no whole number of "
                "such patches: choose the network's"
            )
        return height // patch_size, width // patch_size


def _plan(folder: Path) -> dict[str, Any]:
    file = folder / PLAN
    try:
        plan: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return {name: plan[name] for name in ("size", "fit", "names", "images")}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise UserError(f"{file} is missing or damaged: copy it again, or encode again") from None
