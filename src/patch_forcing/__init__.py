"""Patch Forcing: image generation in which every patch of the image has its own clock.

Letters, which have the same meaning in all shapes, formulas and docstrings:

    B           images in a batch
    C, H, W     channels, height and width of what the network sees: pixels, or latents
    P, N        side of a patch in these; patches of an image, N = (H/P)·(W/P), row by row
    M, T        patches of an image in a subset; tokens of several images in one row
    D, L        width of a token; blocks of the network, or tokens of a text
    F           width of features
    t           flow time: 0 is noise, 1 is data, and no other scale exists
    U           distinct times that one image holds at one evaluation, 1 ≤ U ≤ N
    τ, K        a time grid 0 = τ_0 < τ_1 < … < τ_K = 1; the number of its steps
    p           share of easy patches, `easy_fraction`
    n           evaluations in a step of dual-loop, `inner_steps`
    x_0, x_1    noise; data
    x_t         the point between, t·x_1 + (1 − t)·x_0
    v           velocity, the derivative of x_t by t

The public names live in `patch_forcing.api` and are imported at their first use, so that the
command line answers before torch is loaded.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from patch_forcing.api import *  # noqa: F403

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    # a look for something private, or for a submodule while it is being imported, loads nothing
    if name == "__all__" or not (name.startswith("_") or name == "api"):
        api = import_module("patch_forcing.api")
        if name == "__all__" or name in api.__all__:
            return getattr(api, name)
    raise AttributeError(f"module 'patch_forcing' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*import_module("patch_forcing.api").__all__, "__version__"]
