"""A text encoder as users name it: an offline one, a folder, or the Hub's."""

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
    if folder.is_dir():
        return TransformersEncoder(name, folder, bf16=bf16)
    if looks_like_hub_id(name):
        return TransformersEncoder(name, download(name, FILES, "no such text encoder"), bf16=bf16)
    raise unknown_name("text encoder", name, [BYTES, WORDLLAMA, "OWNER/NAME of the Hub"])
