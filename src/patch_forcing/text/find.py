"""A text encoder as users name it: an offline one, a folder, or the Hub's."""

from functools import lru_cache
from pathlib import Path

from patch_forcing.core.errors import UserError, unknown_name
from patch_forcing.io.hub import download, looks_like_hub_id
from patch_forcing.text.encoder import TextEncoder
from patch_forcing.text.transformers_encoder import FILES, TransformersEncoder
from patch_forcing.text.word_vectors import WORDLLAMA, wordllama

BYTES = "bytes"
"""No encoder: the network reads the bytes of a text itself."""


def find_text_encoder(name: str, *, bf16: bool = False) -> TextEncoder:
    """The encoder of that name, downloaded first if it is the Hub's.

    bf16: what a large one computes in. Raises UserError if there is none, a package is missing, or
    it is not one.
    """
    if name == WORDLLAMA:
        return wordllama()
    try:
        folder = Path(name).expanduser()
    except RuntimeError:
        raise UserError(f"{name}: there is no such user: write the folder out") from None
    if not folder.is_dir():
        if not looks_like_hub_id(name):
            raise unknown_name("text encoder", name, [BYTES, WORDLLAMA, "OWNER/NAME of the Hub"])
        folder = download(name, FILES, "no such text encoder")
    files = (file.stat() for pattern in FILES for file in sorted(folder.glob(pattern)))
    return _opened(name, folder, bf16, tuple((file.st_mtime_ns, file.st_size) for file in files))


@lru_cache(maxsize=2)
def _opened(
    name: str,
    folder: Path,
    bf16: bool,
    files: tuple[tuple[int, int], ...],  # noqa: ARG001 — other files are another encoder
) -> TransformersEncoder:
    """One encoder for all who ask in a process: it is large, and so is the work of hashing it."""
    return TransformersEncoder(name, folder, bf16=bf16)
