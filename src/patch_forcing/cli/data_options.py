"""Options of commands that read the images of a folder, of shards or of the Hub."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from patch_forcing.data.image_options import Condition, ImageOptions
from patch_forcing.data.sources import HubParts

SOURCES = ("shards", "hub")
"""Recipes whose data go by their name in commands; those of `folder` need none."""
CAPTIONS = (
    "captions train a network of texts, with --network.condition text; --data.condition none "
    "trains without them"
)


@dataclass(frozen=True)
class CheckOptions:
    """Of shards."""

    condition: Condition | None = None
    """What goes with each image: class, caption or none. Default: what there is, classes first."""


@dataclass(frozen=True)
class FolderOptions(CheckOptions):
    """Of a folder."""

    depth: int = 1
    """Which level of folders names the classes: 1 is the top one; 2 makes classes such as a/b of
    the second; 0: folders are no classes."""


@dataclass(frozen=True)
class HubOptions(HubParts, CheckOptions):
    """Of the Hub."""


def all_images(recipe: str, path: str, options: CheckOptions, **how: Any) -> ImageOptions:
    """A recipe's images of this path, none of them held out. how: further fields."""
    from patch_forcing.runs.recipes import RECIPES

    source: Any = RECIPES[recipe].recipe.data
    images: ImageOptions = replace(source, path=path, held_out=0.0, **vars(options), **how)
    return images


def as_own(args: Sequence[str]) -> list[str]:
    """Options as messages about data call them, --data.depth, as those of this command: --depth."""
    return [f"--{arg[7:]}" if arg.startswith("--data.") else arg for arg in args]
