"""Text encoders in folders, of transformers: config, tokenizer and safetensors, nothing executable.

T5, CLIP's and SigLIP's text towers, and language models such as Qwen3, Gemma and Qwen3-VL, of which
the last hidden states are taken.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.core.extras import install_line
from patch_forcing.text.encoder import Encoded

FILES = ("*.json", "*.safetensors", "*.model", "merges.txt", "vocab.txt")
"""What a folder of the Hub is asked for; of a large model, weights lie in several files."""
CONFIG = "config.json"
_CLASSES = {
    "t5": "T5EncoderModel",
    "mt5": "MT5EncoderModel",
    "umt5": "UMT5EncoderModel",
    "clip": "CLIPTextModel",
    "clip_text_model": "CLIPTextModel",
    "siglip": "SiglipTextModel",
    "siglip_text_model": "SiglipTextModel",
    "siglip2": "Siglip2TextModel",
    "siglip2_text_model": "Siglip2TextModel",
}
"""Of model types whose texts have a class of their own; others are `AutoModel`."""
_SEES_PADDING = ("siglip", "siglip_text_model", "siglip2", "siglip2_text_model")
"""Trained on texts that are padded to one length, the padding seen."""
_UNLIMITED = 512
"""Tokens of encoders that name no limit, such as T5."""
_CHUNK, _ROUND = 16, 16
"""Texts at once, and what their lengths are rounded up to: always the same shapes, so that a text's
numbers do not depend on those beside it."""


class TransformersEncoder:
    """A text model of transformers; its weights are loaded when a text is first read.

    place: what the user calls it. bf16: what it computes in, else fp32.
    Raises UserError if the folder does not hold one, or transformers is missing.
    """

    def __init__(self, place: str, folder: Path, *, bf16: bool = False):
        try:
            import transformers
        except ImportError:
            raise UserError(
                f"{place}: this text encoder needs transformers: {install_line('text')}"
            ) from None
        self._library: Any = transformers
        self._place, self._folder, self._bf16 = place, folder, bf16
        self._device: torch.device | str = "cpu"
        if not (folder / CONFIG).is_file():
            raise UserError(f"{folder / CONFIG} is missing: give the folder of a text encoder")
        if not any(folder.glob("*.safetensors")):
            raise UserError(f"{folder} has no safetensors, and no other weights are read")
        with self._loading():
            config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
            self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False
            )
        self._type = str(config.model_type)
        text = getattr(config, "text_config", None) or config
        width = getattr(text, "hidden_size", None)
        if not isinstance(width, int) or not self._tokenizer.is_fast:
            raise UserError(f"{place} ({self._type}) is no text encoder: name another")
        self.width = width
        limits = [
            getattr(text, "max_position_embeddings", None),
            self._tokenizer.model_max_length,
        ]
        known = [limit for limit in limits if isinstance(limit, int) and 0 < limit < 10**6]
        self.max_length = min(known, default=_UNLIMITED)

    @cached_property
    def name(self) -> str:
        """The folder's name and 16 digits of a SHA-256 of its files; bf16 where it computes so."""
        digest = hashlib.sha256()
        for pattern in FILES:
            for path in sorted(self._folder.glob(pattern)):
                with path.open("rb") as file:
                    digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
        precision = " bf16" if self._bf16 else ""
        return f"{Path(self._place).name} {digest.hexdigest()[:16]}{precision}"

    @torch.no_grad()
    def encode(self, texts: Sequence[str], length: int) -> Encoded:
        """The last hidden states, special tokens included."""
        embeddings = torch.zeros(len(texts), length, self.width, device=self._device)
        mask = torch.zeros(len(texts), length, dtype=torch.bool, device=self._device)
        if not texts:
            return Encoded(embeddings, mask, ())
        tokens, cut = self._tokens(texts, min(length, self.max_length))
        by_shape: dict[int, list[int]] = {}
        for number, ids in enumerate(tokens):
            if ids:
                by_shape.setdefault(self._padded(len(ids)), []).append(number)
        for shape, numbers in by_shape.items():
            for first in range(0, len(numbers), _CHUNK):
                part = numbers[first : first + _CHUNK]
                hidden = self._states([tokens[number] for number in part], shape)
                for row, number in enumerate(part):
                    count = len(tokens[number])
                    embeddings[number, :count] = hidden[row, :count]
                    mask[number, :count] = True
        return Encoded(embeddings, mask, cut)

    def to(self, device: torch.device | str) -> "TransformersEncoder":
        """The same, on that device."""
        self._device = device
        if "_network" in vars(self):
            self._network.to(device)
        return self

    def _padded(self, count: int) -> int:
        if self._type in _SEES_PADDING:
            return self.max_length
        return min(-(-count // _ROUND) * _ROUND, self.max_length)

    def _tokens(self, texts: Sequence[str], length: int) -> tuple[list[list[int]], tuple[str, ...]]:
        """The tokens of each text and what was cut; special ones at the end stay."""
        with self._quiet():
            read = self._tokenizer(
                list(texts), truncation=True, max_length=length, return_offsets_mapping=True
            )
            whole = self._tokenizer(list(texts), truncation=False)["input_ids"]
        ids = [row if text else [] for text, row in zip(texts, read["input_ids"], strict=True)]
        ends = [max((end for _, end in row), default=0) for row in read["offset_mapping"]]
        cut = tuple(
            text[end:] if len(every) > length else ""
            for text, every, end in zip(texts, whole, ends, strict=True)
        )
        return ids, cut

    def _states(self, tokens: list[list[int]], length: int) -> Tensor:
        """(at least len(tokens), length, E)."""
        padding = self._tokenizer.pad_token_id or 0
        ids = torch.full((_CHUNK, length), padding, dtype=torch.int64)
        seen = torch.zeros(_CHUNK, length, dtype=torch.int64)
        seen[:, 0] = 1
        for row, known in enumerate(tokens):
            ids[row, : len(known)] = torch.tensor(known)
            seen[row, : len(known)] = 1
        mask = {} if self._type in _SEES_PADDING else {"attention_mask": seen.to(self._device)}
        output = self._network(input_ids=ids.to(self._device), **mask)
        states: Tensor = output.last_hidden_state.float()
        if not states.isfinite().all():
            raise UserError(f"{self._place} gives embeddings that are not finite: try fp32")
        return states

    @cached_property
    def _network(self) -> Any:
        kind = getattr(self._library, _CLASSES.get(self._type, "AutoModel"))
        with self._loading():
            network, loading = kind.from_pretrained(
                str(self._folder),
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                dtype=torch.bfloat16 if self._bf16 else torch.float32,
            )
        if lost := sorted(loading["missing_keys"]):
            raise UserError(f"{self._folder} lacks the tensor {lost[0]!r}: copy it again")
        for part in ("language_model", "text_model"):  # of those that see images, too
            if self._type not in _CLASSES:
                network = getattr(network, part, network)
        return network.eval().requires_grad_(False).to(self._device)

    @contextmanager
    def _loading(self) -> Iterator[None]:
        try:
            with self._quiet():
                yield
        except Exception as error:  # each part of it has errors of its own
            why = " ".join(str(error).split())[:300]
            raise UserError(
                f"{self._place} cannot be loaded as a text encoder ({type(error).__name__}: {why}):"
                " bring config, tokenizer and weights of one encoder together"
            ) from None

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        """What it would say is said in an error, or is of no use."""
        logger, reports = logging.getLogger("transformers"), self._library.utils.logging
        before = logger.level
        logger.setLevel(logging.CRITICAL)
        reports.disable_progress_bar()
        try:
            yield
        finally:
            logger.setLevel(before)
            reports.enable_progress_bar()
