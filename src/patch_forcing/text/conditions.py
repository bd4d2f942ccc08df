"""Texts → the tensor that a network takes as their condition."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from patch_forcing.core.devices import to_device
from patch_forcing.core.errors import UserError
from patch_forcing.models.condition_kinds import condition_kind
from patch_forcing.models.config import PatchDiTConfig
from patch_forcing.models.text import ByteCondition, TextCondition
from patch_forcing.models.text_space import TextSpace
from patch_forcing.text.encoder import TextEncoder
from patch_forcing.text.find import BYTES, find_text_encoder
from patch_forcing.text.normal import normal_text, short
from patch_forcing.text.store import EmbeddingStore
from patch_forcing.text.word_vectors import WORDLLAMA


class Read(NamedTuple):
    """Texts as a condition (B, …), and what of each did not fit, empty if all did."""

    condition: Shaped[Tensor, "B ..."]
    cut: tuple[str, ...]


@runtime_checkable
class TextReader(Protocol):
    """What makes conditions of texts, for one network."""

    @property
    def kind(self) -> str:
        """The condition of the network's config."""

    @property
    def space(self) -> TextSpace | None:
        """The encoder whose embeddings they are; None if the network needs none."""

    @property
    def limit(self) -> str:
        """How long texts may be, in words."""

    def __call__(self, texts: Sequence[str], device: torch.device | str = "cpu") -> Read:
        """A function of each text alone. The empty text is the null condition."""


@dataclass(frozen=True)
class ByteReader:
    """UTF-8, the first `length` bytes; a character that does not fit whole is cut."""

    length: int
    space: None = None

    @property
    def kind(self) -> str:
        """For the config."""
        return f"bytes:length={self.length}"

    @property
    def limit(self) -> str:
        """In bytes."""
        return f"{self.length} bytes"

    def __call__(self, texts: Sequence[str], device: torch.device | str = "cpu") -> Read:
        """Each byte + 1."""
        texts = list(map(normal_text, texts))
        read = [text.encode()[: self.length].decode(errors="ignore") for text in texts]
        rows = np.frombuffer(
            b"".join(text.encode().ljust(self.length, b"\0") for text in read), dtype=np.uint8
        ).reshape(len(texts), self.length)
        # none holds the byte 0, which is no character of a normal text
        condition = torch.from_numpy((rows.astype(np.int64) + 1) * (rows > 0))
        cut = [text[len(fitting) :] for text, fitting in zip(texts, read, strict=True)]
        return Read(to_device(condition, device), tuple(cut))


@dataclass(frozen=True)
class EncodedReader:
    """Embeddings of an encoder in fp16, NaN behind the last token.

    length: tokens of a text at most. store: where they are kept, and looked for first.
    """

    encoder: TextEncoder
    length: int
    space: TextSpace
    store: EmbeddingStore | None = None

    @property
    def kind(self) -> str:
        """For the config."""
        return f"text:width={self.encoder.width},length={self.length}"

    @property
    def limit(self) -> str:
        """In tokens."""
        return f"{self.length} tokens of {self.space.encoder}"

    def __call__(self, texts: Sequence[str], device: torch.device | str = "cpu") -> Read:
        """Texts that occur twice are read once."""
        texts = list(map(normal_text, texts))
        condition = torch.full((len(texts), self.length, self.encoder.width), torch.nan).half()
        kept: dict[str, Tensor] = {}
        cut = dict.fromkeys(texts, "")
        if self.store is not None:
            known = {text: self.store.get(text, self.length) for text in cut}
            kept = {text: rows for text, rows in known.items() if rows is not None}
        new = [text for text in cut if text not in kept]
        if new:
            encoded = self.encoder.encode(new, self.length)
            counts = encoded.mask.sum(1).tolist()
            embeddings = _half(encoded.embeddings, self.encoder.name).cpu()
            for number, text in enumerate(new):
                kept[text], cut[text] = embeddings[number, : counts[number]], encoded.cut[number]
                if self.store is not None:
                    self.store.add(text, self.length, kept[text])
        for row, text in zip(condition, texts, strict=True):
            row[: len(kept[text])] = kept[text]
        return Read(to_device(condition, device), tuple(cut[text] for text in texts))


def _half(embeddings: Tensor, name: str) -> Tensor:
    half = embeddings.half()
    if not half.isfinite().all():
        raise UserError(f"{name} gives embeddings beyond fp16: choose another encoder")
    return half


def open_reader(
    encoder: str,
    length: int,
    *,
    bf16: bool = False,
    store: str | Path | None = None,
    device: torch.device | str = "cpu",
) -> TextReader:
    """What reads texts for a new network. encoder: as users name it. length: tokens at most.

    Raises UserError if there is no such encoder, or the store is another's.
    """
    if encoder == BYTES:
        if store is not None or bf16:
            given = "text.bf16" if store is None else f"text.cache={store}"
            raise UserError(f"{given} with bytes, which have no encoder: leave it out")
        return ByteReader(length)
    if bf16 and encoder == WORDLLAMA:
        raise UserError("text.bf16 with wordllama, which is a table: leave it out")
    network = find_text_encoder(encoder, bf16=bf16).to(device)
    kept = None if store is None else EmbeddingStore(Path(store).expanduser(), network)
    space = TextSpace(encoder, network.name, bf16)
    return EncodedReader(network, min(length, network.max_length), space, kept)


def reader_of(
    config: PatchDiTConfig, space: TextSpace | None, device: torch.device | str = "cpu"
) -> TextReader:
    """What reads texts for a network that is there.

    Raises UserError if its encoder is missing, or is another one.
    """
    kind = condition_kind(config.condition)
    if isinstance(kind, ByteCondition):
        return ByteReader(kind.length)
    assert isinstance(kind, TextCondition)
    if space is None:
        raise UserError("this model does not name its text encoder: give embeddings from Python")
    try:
        network = find_text_encoder(space.encoder, bf16=space.bf16).to(device)
    except UserError as error:
        raise UserError(f"this model reads texts by {space.name}, but: {error}") from None
    if network.name != space.name or network.width != kind.width:
        raise UserError(
            f"text encoder {space.encoder} is {network.name}, but the model was trained with "
            f"{space.name}: bring that one there"
        )
    return EncodedReader(network, kind.length, space)


def cut_note(texts: Sequence[str], cut: Sequence[str], limit: str) -> str:
    """In a line, what did not fit; empty if all did. limit: how long texts may be."""
    long = [(text, rest) for text, rest in zip(texts, cut, strict=True) if rest]
    if not long:
        return ""
    text, rest = long[0]
    others = f" and {len(long) - 1} more" if len(long) > 1 else ""
    return f"{short(text)!r}{others}: longer than {limit}; not read: {short(rest.strip())!r}"
