"""Folders on the Hugging Face Hub are downloaded to this disk."""

from collections.abc import Sequence
from pathlib import Path

from patch_forcing.core.errors import UserError


def looks_like_hub_id(name: str) -> bool:
    """Whether `name` has the form OWNER/NAME."""
    owner, slash, rest = name.partition("/")
    return bool(owner and slash and rest) and "/" not in rest and not name.startswith(".")


MODEL_FILES = ("config.json", "model.safetensors")


def download(
    hub_id: str,
    files: Sequence[str] = MODEL_FILES,
    missing: str = "no such folder (train it first?)",
) -> Path:
    """Downloads these files of a folder on the Hub and returns where they lie on this disk.

    missing: how the message of the UserError begins that is raised if they cannot be had.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import (
            HfHubHTTPError,
            HFValidationError,
            LocalEntryNotFoundError,
        )
    except ImportError:
        raise UserError(
            f"{hub_id}: {missing}; if it is on the Hub: pip install huggingface-hub"
        ) from None
    try:
        return Path(snapshot_download(hub_id, allow_patterns=list(files)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{hub_id}: {missing}, and the Hub does not give it ({reason}): "
            "check the name and the network"
        ) from None
