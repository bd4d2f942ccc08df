"""Patch Forcing: image generation in which every patch of the image has its own clock.

The public names live in `patch_forcing.api` and are imported when first asked for, so that the
command line answers before torch is loaded.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from patch_forcing.api import *  # noqa: F403

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # a look for something private, or for a submodule while it is being imported, loads nothing
    if name == "__all__" or not (name.startswith("_") or name == "api"):
        api = import_module("patch_forcing.api")
        if name == "__all__" or name in api.__all__:
            return getattr(api, name)
    raise AttributeError(f"module 'patch_forcing' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*import_module("patch_forcing.api").__all__, "__version__"]
