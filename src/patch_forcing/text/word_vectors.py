"""Vectors of word pieces from PyPI's `wordllama` (MIT): trained, 256 numbers each, on this disk.

They are distilled from the input embeddings of large language models. A vector knows its word
piece alone: what words mean together is left to the network's refiner.
"""

import copy
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.core.extras import install_line
from patch_forcing.text.encoder import Encoded

WORDLLAMA = "wordllama"
_TABLE = Path("weights", "l2_supercat_256.safetensors")
_TOKENIZER = Path("tokenizers", "l2_supercat_tokenizer_config.json")
MAX_LENGTH = 512


class WordVectors:
    """A table of vectors (V, E) and the tokenizer of their word pieces, a `tokenizers` file."""

    max_length = MAX_LENGTH

    def __init__(self, name: str, table: Tensor, tokenizer: str):
        from tokenizers import Tokenizer

        self._table, self._tokenizer = table, Tokenizer.from_str(tokenizer)
        digest = hashlib.sha256(tokenizer.encode())
        digest.update(table.contiguous().cpu().view(torch.uint8).numpy().tobytes())
        self.name = f"{name} {digest.hexdigest()[:16]}"

    @property
    def width(self) -> int:
        """E."""
        return self._table.shape[1]

    def encode(self, texts: Sequence[str], length: int) -> Encoded:
        """One vector for each word piece."""
        pieces = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        embeddings = self._table.new_zeros(len(texts), length, self.width)
        mask = torch.zeros(len(texts), length, dtype=torch.bool, device=self._table.device)
        cut = []
        for row, (text, piece) in enumerate(zip(texts, pieces, strict=True)):
            ids = piece.ids[:length] if text else []
            mask[row, : len(ids)] = True
            embeddings[row, : len(ids)] = self._table[torch.tensor(ids, dtype=torch.int64)]
            cut.append(text[piece.offsets[length][0] :] if len(piece.ids) > length else "")
        return Encoded(embeddings.float(), mask, tuple(cut))

    def to(self, device: torch.device | str) -> "WordVectors":
        """The same, on that device."""
        moved = copy.copy(self)
        moved._table = self._table.to(device)
        return moved


@cache
def wordllama() -> WordVectors:
    """The table in the package. Raises UserError if it is not installed, or is another release."""
    spec = find_spec(WORDLLAMA)
    if spec is None or spec.origin is None or find_spec("tokenizers") is None:
        raise UserError(f"text encoder wordllama is not installed: {install_line('text')}")
    folder = Path(spec.origin).parent
    table, tokenizer = folder / _TABLE, folder / _TOKENIZER
    if not table.is_file() or not tokenizer.is_file():
        raise UserError(
            f"{folder} lacks {_TABLE} or {_TOKENIZER}, as wordllama 0.4 has them: "
            f"{install_line('text')}"
        )
    vectors = load_file(table)["embedding.weight"]
    return WordVectors(WORDLLAMA, vectors, tokenizer.read_text(encoding="utf-8"))
