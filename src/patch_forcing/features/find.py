"""A feature network as users name it: a bundled one, a folder, the Hub's, or timm's."""

from pathlib import Path

from patch_forcing.core.errors import UserError, unknown_name
from patch_forcing.features.classifiers import (
    EFFICIENTNET,
    INCEPTION,
    efficientnet_lite0,
    inception,
)
from patch_forcing.features.emoji import NAME as EMOJI
from patch_forcing.features.emoji import load_emoji_features
from patch_forcing.features.encoder_folders import (
    FILES,
    timm_encoder,
    timm_hub_id,
    transformers_encoder,
)
from patch_forcing.features.network import FeatureNetwork, MapNetwork
from patch_forcing.io.hub import download, looks_like_hub_id

DINOV2 = {
    "dinov2-s": ("facebook/dinov2-small", 384),
    "dinov2-b": ("facebook/dinov2-base", 768),
    "dinov2-l": ("facebook/dinov2-large", 1024),
    "dinov2-g": ("facebook/dinov2-giant", 1536),
}
"""Where they lie on the Hub, and how wide their features are."""
TIMM = "timm:"
_WIDTHS = {EMOJI: 144, EFFICIENTNET: 1280, **{name: width for name, (_, width) in DINOV2.items()}}
_MISSING = "no such encoder"


def find_encoder(name: str) -> MapNetwork:
    """The encoder of that name, downloaded first if it is the Hub's.

    Raises UserError if there is none, a package is missing, or it is not one; the nearest is named.
    """
    if name == EMOJI:
        return load_emoji_features()
    if name == EFFICIENTNET:
        return efficientnet_lite0()
    if name in DINOV2:
        return transformers_encoder(name, download(DINOV2[name][0], FILES, _MISSING))
    if name.startswith(TIMM):
        rest = name.removeprefix(TIMM)
        folder = Path(rest).expanduser()
        if rest and folder.is_dir():
            return timm_encoder(name, folder)
        return timm_encoder(name, download(timm_hub_id(rest), FILES, _MISSING))
    try:
        folder = Path(name).expanduser()
    except RuntimeError:
        raise UserError(f"{name}: there is no such user: write the folder out") from None
    if folder.is_dir():
        return transformers_encoder(name, folder)
    if looks_like_hub_id(name):
        return transformers_encoder(name, download(name, FILES, _MISSING))
    raise unknown_name("encoder", name, [*_WIDTHS, f"{TIMM}NAME"])


def find_features(name: str) -> FeatureNetwork:
    """The network of that name that metrics are measured by: an encoder, or Inception.

    Raises UserError as `find_encoder` does.
    """
    return inception() if name == INCEPTION else find_encoder(name)


def known_width(name: str) -> int | None:
    """How wide the features of a named encoder are, without looking for it; None: not known."""
    return _WIDTHS.get(name)
