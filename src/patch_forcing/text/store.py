"""Embeddings of texts on disk, so that an encoder reads each text once.

    DIR/embeddings.json            {"format_version": 1, "encoder": its name with hash, "width": E}
        shard-XXXXXXXX.safetensors embeddings (T, E) fp16, the tokens of K texts in a row without
                                   padding; ends (K,) int64, where each text ends; keys (K, 32)
                                   uint8, SHA-256 of each text and of the length it was cut to

Shards are complete or absent, and several processes may add some at once.
"""

import hashlib
import json
from pathlib import Path
from uuid import uuid4

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.io.atomic import atomic_file
from patch_forcing.text.encoder import TextEncoder

FORMAT_VERSION = 1
INDEX = "embeddings.json"
FULL = 1024
"""Texts of a shard."""


class EmbeddingStore:
    """The embeddings of one encoder in a folder, which is made if it is not there.

    Raises UserError if they are another encoder's, or damaged.
    """

    def __init__(self, folder: Path, encoder: TextEncoder):
        self.folder = folder
        self._places: dict[bytes, tuple[Path, int, int]] = {}
        self._new: dict[bytes, Tensor] = {}
        index = {"format_version": FORMAT_VERSION, "encoder": encoder.name, "width": encoder.width}
        if (folder / INDEX).exists():
            self._check(index)
        elif folder.exists() and any(folder.iterdir()):
            raise UserError(f"{folder} holds other files, and no {INDEX}: name another folder")
        else:
            folder.mkdir(parents=True, exist_ok=True)
            with atomic_file(folder / INDEX) as file:
                file.write_text(json.dumps(index) + "\n", encoding="utf-8")
        for shard in sorted(folder.glob("shard-*.safetensors")):
            self._read(shard)

    def __len__(self) -> int:
        return len(self._places) + len(self._new)

    def get(self, text: str, length: int) -> Float[Tensor, "n E"] | None:
        """Of a text that was cut to so many tokens; None if it is not there."""
        key = _key(text, length)
        if key in self._new:
            return self._new[key]
        if key not in self._places:
            return None
        shard, start, end = self._places[key]
        try:
            with safe_open(shard, "pt") as stored:
                rows: Tensor = stored.get_slice("embeddings")[start:end]
        except (SafetensorError, OSError) as error:
            raise _damaged(shard, error) from None
        return rows

    def add(self, text: str, length: int, rows: Float[Tensor, "n E"]) -> None:
        """Keep the embeddings of a text; on disk from `flush`, or once there are FULL of them."""
        self._new[_key(text, length)] = rows.half().cpu()
        if len(self._new) >= FULL:
            self.flush()

    def flush(self) -> None:
        """Write what is new."""
        if not self._new:
            return
        rows = list(self._new.values())
        ends = torch.tensor([len(row) for row in rows]).cumsum(0)
        keys = torch.frombuffer(bytearray(b"".join(self._new)), dtype=torch.uint8).view(-1, 32)
        shard = self.folder / f"shard-{uuid4().hex[:8]}.safetensors"
        with atomic_file(shard) as file:
            save_file({"embeddings": torch.cat(rows), "ends": ends, "keys": keys}, file)
        self._new = {}
        self._read(shard)

    def _check(self, index: dict[str, object]) -> None:
        try:
            known = json.loads((self.folder / INDEX).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise _damaged(self.folder / INDEX, error) from None
        if known != index:
            theirs = known.get("encoder") if isinstance(known, dict) else known
            raise UserError(
                f"{self.folder} holds embeddings of {theirs}, not of {index['encoder']}: name "
                "another folder"
            )

    def _read(self, shard: Path) -> None:
        try:
            with safe_open(shard, "pt") as stored:
                ends = [0, *stored.get_tensor("ends").tolist()]
                keys = stored.get_tensor("keys").numpy().tobytes()
        except (SafetensorError, OSError) as error:
            raise _damaged(shard, error) from None
        for number in range(len(ends) - 1):
            key = keys[32 * number : 32 * number + 32]
            self._places[key] = shard, ends[number], ends[number + 1]


def _key(text: str, length: int) -> bytes:
    return hashlib.sha256(f"{length} {text}".encode()).digest()


def _damaged(file: Path, error: Exception) -> UserError:
    return UserError(f"{file} is damaged ({error}): remove it, and it is made again")
