"""A folder on this disk becomes one on the Hugging Face Hub."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from patch_forcing.core.errors import UserError
from patch_forcing.core.extras import install_line
from patch_forcing.io.hub_errors import asking
from patch_forcing.io.model_layout import CONFIG, is_own_config
from patch_forcing.io.provenance import versions

if TYPE_CHECKING:
    from huggingface_hub import HfApi

CARD = "README.md"
_NO_MODEL = {".gitattributes", ".gitignore", "LICENSE", "LICENSE.md", CARD}
"""Files that say nothing of what a repository holds."""


class Target(NamedTuple):
    """Where a folder goes.

    revision: a branch, made if it is not there; None is the main one. private: whether only its
    owner sees the repository, where this upload makes it.
    """

    hub_id: str
    revision: str | None = None
    private: bool = False


def check_package() -> None:
    """Raises UserError, before any work, if huggingface_hub is not installed."""
    from importlib.util import find_spec

    if find_spec("huggingface_hub") is None:
        raise UserError(f"push needs huggingface_hub, whose cards it writes: {install_line('hub')}")


def _api() -> "HfApi":
    from huggingface_hub import HfApi

    return HfApi(library_name="patch-forcing", library_version=versions()["patch-forcing"])


def check_target(target: Target) -> str:
    """Looks at what is there before anything is made or sent, and returns its card, "" if none.

    Raises UserError if there is no token, or if the repository holds anything but a model of this
    format, or is public where a private one is wanted.
    """
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    api, hub_id = _api(), target.hub_id
    with asking(hub_id, target.revision):
        api.whoami()
        try:
            info = api.model_info(hub_id)
        except RepositoryNotFoundError:
            return ""
        if target.private and not info.private:
            raise UserError(
                f"{hub_id} is there and public: leave --private out, or change it there"
            )
        revision = target.revision
        try:
            names = api.list_repo_files(hub_id, revision=revision)
        except RevisionNotFoundError:
            names, revision = api.list_repo_files(hub_id), None
        with tempfile.TemporaryDirectory() as folder:
            files = {
                name: Path(api.hf_hub_download(hub_id, name, revision=revision, local_dir=folder))
                for name in (CONFIG, CARD)
                if name in names
            }
            _check_own(hub_id, set(names), files.get(CONFIG))
            return files[CARD].read_text(encoding="utf-8") if CARD in files else ""


def _check_own(hub_id: str, names: set[str], config: Path | None) -> None:
    """Raises UserError for a repository of something else, over which nothing is written."""
    others = sorted(names - _NO_MODEL)
    if others and not (config and is_own_config(config)):
        raise UserError(
            f"{hub_id} holds something else ({others[0]}), no model of patch-forcing: name another"
        )


def upload(folder: Path, target: Target, message: str) -> str:
    """Sends all files of the folder, in one commit, and returns the address of that.

    Raises UserError if that fails: then the repository is as it was. The same call again sends
    only what did not arrive.
    """
    api, (hub_id, revision, private) = _api(), target
    with asking(f"{hub_id} is not uploaded", revision):
        api.create_repo(hub_id, private=private or None, exist_ok=True)
        if revision is not None:
            api.create_branch(hub_id, branch=revision, exist_ok=True)
        done = api.upload_folder(
            repo_id=hub_id, folder_path=folder, revision=revision, commit_message=message
        )
    return str(done.commit_url)
