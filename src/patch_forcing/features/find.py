"""A feature network as users name it: a bundled one, a folder, the Hub's, or timm's."""

from importlib.util import find_spec
from pathlib import Path

from patch_forcing.core.errors import UserError, unknown_name
from patch_forcing.features.classifiers import (
    EFFICIENTNET,
    INCEPTION,
    efficientnet_lite0,
    inception,
)
from patch_forcing.features.clip import CLIP_FILES, clip_network, is_clip
from patch_forcing.features.emoji import NAME as EMOJI
from patch_forcing.features.emoji import load_emoji_features
from patch_forcing.features.encoder_folders import (
    CONFIG,
    FILES,
    WEIGHTS,
    timm_encoder,
    timm_hub_id,
    transformers_encoder,
)
from patch_forcing.features.network import FeatureNetwork, MapNetwork
from patch_forcing.io.hub import cached_folder, download, looks_like_hub_id

DINOV2 = {
    "dinov2-s": ("facebook/dinov2-small", 384),
    "dinov2-b": ("facebook/dinov2-base", 768),
    "dinov2-l": ("facebook/dinov2-large", 1024),
    "dinov2-g": ("facebook/dinov2-giant", 1536),
}
"""Where they lie on the Hub, and how wide their features are."""
CLIP = {"clip-b": "openai/clip-vit-base-patch32", "clip-l": "openai/clip-vit-large-patch14"}
"""Where networks of images and texts lie on the Hub."""
TIMM = "timm:"
_WIDTHS = {EMOJI: 144, EFFICIENTNET: 1280, **{name: width for name, (_, width) in DINOV2.items()}}
_MISSING = "no such encoder"
_DINOV2_ORDER = ("dinov2-l", "dinov2-b", "dinov2-s", "dinov2-g")


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
    """The network of that name that metrics are measured by: an encoder, Inception, or CLIP.

    Raises UserError as `find_encoder` does.
    """
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


def cached_dinov2() -> str | None:
    """The DINOv2 whose weights are on this disk, the one of published distances before others."""
    if find_spec("transformers") is None:
        return None
    return next((name for name in _DINOV2_ORDER if cached(DINOV2[name][0])), None)


def cached(hub_id: str) -> Path | None:
    """Where an encoder of the Hub lies on this disk, if all of it was downloaded before."""
    folder = cached_folder(hub_id, FILES)
    whole = folder is not None and all((folder / name).is_file() for name in (CONFIG, WEIGHTS))
    return folder if whole else None


def known_width(name: str) -> int | None:
    """How wide the features of a named encoder are, without looking for it; None: not known."""
    return _WIDTHS.get(name)
