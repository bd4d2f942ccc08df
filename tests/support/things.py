"""An atlas in which each thing is a square of one grey: its number can be read off a scene."""

import torch

from patch_forcing.data.atlas import Atlas, Emoji
from patch_forcing.data.emoji_things import THINGS


def grey_things() -> Atlas:
    """128 pixels, opaque; the grey of thing k is k of 255."""
    tiles = torch.zeros(len(THINGS), 128, 128, 4, dtype=torch.uint8)
    tiles[..., 3] = 255
    tiles[..., :3] = torch.arange(len(THINGS), dtype=torch.uint8)[:, None, None, None]
    return Atlas(tuple(Emoji("", name, "", "") for name in THINGS), tiles)
