"""Where what was found out of data is kept, so that it need not be found out again."""

import hashlib
import os
from pathlib import Path

CACHE = "PATCH_FORCING_CACHE"
"""The environment's name of the folder; ~/.cache/patch-forcing if it has none."""


def cache_folder() -> Path | None:
    """The folder; None where there is no home for it."""
    try:
        return Path(os.environ.get(CACHE) or Path.home() / ".cache" / "patch-forcing")
    except RuntimeError:  # a user without a home, as in many containers
        return None


def cache_file(kind: str, what: bytes) -> Path | None:
    """The file of what is of this kind; None where there is no home for it."""
    folder = cache_folder()
    return folder and folder / kind / f"{hashlib.sha256(what).hexdigest()[:32]}.json"
