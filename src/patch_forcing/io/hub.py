"""Folders on the Hugging Face Hub are downloaded to this disk."""

from collections.abc import Sequence
from pathlib import Path

from patch_forcing.core.errors import UserError
from patch_forcing.core.extras import install_line
from patch_forcing.io.hub_errors import asking
from patch_forcing.io.model_layout import CONFIG, WEIGHTS


def looks_like_hub_id(name: str) -> bool:
    """Whether `name` has the form OWNER/NAME."""
    owner, slash, rest = name.partition("/")
    return bool(owner and slash and rest) and "/" not in rest and not name.startswith(".")


def split_revision(name: str) -> tuple[str, str | None]:
    """OWNER/NAME@REVISION in two; the revision is None where there is none."""
    hub_id, at, revision = name.partition("@")
    return hub_id, revision if at else None


MODEL_FILES = (CONFIG, WEIGHTS)


def download(
    hub_id: str,
    files: Sequence[str] = MODEL_FILES,
    missing: str = "no such folder (train it first?)",
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
) -> Path:
    """Downloads these files of a folder on the Hub and returns where they lie on this disk.

    missing: how the message of the UserError begins that is raised if they cannot be had.
    revision: a branch, a tag or a commit; None is the main branch. cache_dir: where downloads are
    kept, if not where the Hub's own tools keep them. What was cut off goes on where it stopped.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise UserError(
            f"{hub_id}: {missing}; if it is on the Hub: {install_line('hub')}"
        ) from None
    with asking(f"{hub_id}: {missing}, and not from the Hub", revision):
        return Path(
            snapshot_download(
                hub_id, revision=revision, cache_dir=cache_dir, allow_patterns=list(files)
            )
        )


def file_names(hub_id: str, revision: str | None = None) -> list[str]:
    """The files of a repository. Raises UserError as `download` does."""
    from huggingface_hub import HfApi

    with asking(hub_id, revision):
        return list(HfApi().list_repo_files(hub_id, revision=revision))


def cached_folder(hub_id: str, files: Sequence[str] = MODEL_FILES) -> Path | None:
    """Where these files of a folder on the Hub lie on this disk, if they were downloaded before."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        return None
    try:
        return Path(snapshot_download(hub_id, allow_patterns=list(files), local_files_only=True))
    except (OSError, ValueError):
        return None
