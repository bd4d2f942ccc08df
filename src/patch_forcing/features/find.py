"""A feature network as users name it: a bundled one, a folder, the Hub's, or timm's."""

from pathlib import Path

from patch_forcing.core.errors import unknown_name
from patch_forcing.features.classifiers import efficientnet_lite0, inception
from patch_forcing.features.clip import CLIP_FILES, clip_network, is_clip
from patch_forcing.features.emoji import load_emoji_features
from patch_forcing.features.encoder_folders import (
    timm_encoder,
    timm_hub_id,
    transformers_encoder,
)
from patch_forcing.features.names import (
    CLIP,
    DINOV2,
    EFFICIENTNET,
    EMOJI,
    FILES,
    INCEPTION,
    TIMM,
    WIDTHS,
    cached,
    check_features,
    named_folder,
)
from patch_forcing.features.network import FeatureNetwork, MapNetwork
from patch_forcing.io.hub import download, looks_like_hub_id

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
        hub_id = DINOV2[name][0]
        return transformers_encoder(name, cached(hub_id) or download(hub_id, FILES, _MISSING))
    if name.startswith(TIMM):
        rest = name.removeprefix(TIMM)
        folder = Path(rest).expanduser()
        if rest and folder.is_dir():
            return timm_encoder(name, folder)
        return timm_encoder(name, download(timm_hub_id(rest), FILES, _MISSING))
    folder = named_folder(name)
    if folder.is_dir():
        return transformers_encoder(name, folder)
    if looks_like_hub_id(name):
        return transformers_encoder(name, download(name, FILES, _MISSING))
    raise unknown_name("encoder", name, [*WIDTHS, f"{TIMM}NAME"])


def find_features(name: str) -> FeatureNetwork:
    """The network of that name that metrics are measured by: an encoder, Inception, or CLIP.

    Raises UserError as `check_features` and `find_encoder` do.
    """
    check_features(name)
    if name == INCEPTION:
        return inception()
    if name in CLIP:
        return clip_network(name, download(CLIP[name], CLIP_FILES, _MISSING))
    folder = Path(name)
    if not folder.exists() and looks_like_hub_id(name):
        folder = cached(name) or download(name, FILES, _MISSING)
        if is_clip(folder):  # its tokenizer too
            folder = download(name, CLIP_FILES, _MISSING)
    return clip_network(name, folder) if is_clip(folder) else find_encoder(name)


def known_width(name: str) -> int | None:
    """How wide the features of a named encoder are, without looking for it; None: not known."""
    return WIDTHS.get(name)
