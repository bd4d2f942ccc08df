"""Model folders on the Hugging Face Hub."""

from pathlib import Path

from patch_forcing.core.errors import UserError


def looks_like_hub_id(name: str) -> bool:
    """Whether `name` is OWNER/NAME."""
    owner, slash, rest = name.partition("/")
    return bool(owner and slash and rest) and "/" not in rest and not name.startswith(".")


def download(hub_id: str) -> Path:
    """The Hub's model folder, on this disk. Raises UserError if it cannot be had."""
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import (
            HfHubHTTPError,
            HFValidationError,
            LocalEntryNotFoundError,
        )
    except ImportError:
        raise UserError(
            f"{hub_id}: no such folder (train it first?); if it is on the Hub: "
            "pip install huggingface-hub"
        ) from None
    try:
        return Path(snapshot_download(hub_id, allow_patterns=["config.json", "model.safetensors"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{hub_id}: no such folder (train it first?), and the Hub does not give it ({reason}): "
            "check the name and the network"
        ) from None
