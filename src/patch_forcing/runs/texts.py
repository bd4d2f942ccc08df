"""Captions of data as conditions: between what data give and what a network of texts takes."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import torch

from patch_forcing.core.errors import UserError
from patch_forcing.core.random import CountedGenerator
from patch_forcing.data.batch import Batch, Examples, TrainingData
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.source import Captioned, ListsCaptions
from patch_forcing.runs.recipe import Recipe
from patch_forcing.text.conditions import EncodedReader, TextReader, cut_note, open_reader
from patch_forcing.text.normal import first_sentence
from patch_forcing.views.progress import progress_bar

LOG = logging.getLogger("patch_forcing")
NUM_SHOWN = 8
"""Captions that a model recommends, so that its sheets show them."""
_AT_ONCE = 256


def with_texts(
    recipe: Recipe, data: TrainingData, device: torch.device | str = "cpu"
) -> TrainingData:
    """The data as the recipe's network takes them: of texts, their captions are the condition.

    Raises UserError if there are none, or the encoder cannot be had.
    """
    if recipe.network.condition != "text":
        return data
    if not isinstance(data, Captioned) or not data.captioned:
        raise UserError(
            "network.condition=text for data without captions: give images with captions, and "
            "--data.condition caption where there are classes too"
        )
    text = recipe.text
    reader = open_reader(text.encoder, text.length, bf16=text.bf16, store=text.cache, device=device)
    return read_by(data, reader, text.short)


def read_by(data: TrainingData, reader: TextReader, short_share: float = 0.0) -> TrainingData:
    """The same data, with conditions in place of captions. All else that they can do stays.

    short_share: of captions of which the first sentence alone is read.
    """
    kind = type(data)
    shown = tuple(_some_captions(data)) if isinstance(data, ListsCaptions) else ()
    own = {
        "info": replace(data.info, text=reader.space),
        "text_condition": reader.kind,
        "shown_texts": shown,
    }
    read: Any = object.__new__(type(kind.__name__, (_ReadCaptions, kind), own))
    vars(read).update({name: value for name, value in vars(data).items() if name not in own})
    vars(read).update(_text_reader=reader, _short_share=short_share, _cut_noted=False)
    result: TrainingData = read
    return result


class _ReadCaptions:
    """What is mixed into a class of data, in front of it; its own names are none of theirs."""

    _text_reader: TextReader
    _short_share: float
    _cut_noted: bool

    def batch(self, spec: BatchSpec, device: torch.device | str = "cpu") -> Batch:
        """These samples, their captions read."""
        batch: Batch = super().batch(spec, device)  # type: ignore[misc]
        if self._short_share and batch.captions is not None:
            places = torch.arange(len(batch.x_1)) + (spec.places.start if spec.places else 0)
            drawn = CountedGenerator(spec.seed, places, spec.step).fork("short caption").uniform()
            captions = tuple(
                first_sentence(caption) if u < self._short_share else caption
                for caption, u in zip(batch.captions, drawn.tolist(), strict=True)
            )
            batch = batch._replace(captions=captions)
        return self._captions_read(batch, device)

    def examples(self, most: int) -> tuple[Examples, Examples] | None:
        """Samples held out and samples trained on, their captions read."""
        both: tuple[Examples, Examples] | None = super().examples(most)  # type: ignore[misc]
        if both is None:
            return None
        held, seen = (one._replace(batch=self._captions_read(one.batch, "cpu")) for one in both)
        return held, seen

    @property
    def facts(self) -> dict[str, Any]:
        """With what reads the captions, since another one makes other conditions."""
        facts: dict[str, Any] = super().facts  # type: ignore[misc]
        space = self._text_reader.space
        return facts | {"text_encoder": self._text_reader.kind if space is None else space.name}

    def _captions_read(self, batch: Batch, device: torch.device | str) -> Batch:
        captions = batch.captions or ("",) * len(batch.x_1)
        condition, cut = self._text_reader(captions, device)
        self._note_cut(captions, cut)
        return batch._replace(condition=condition, captions=None)

    def _note_cut(self, captions: Sequence[str], cut: Sequence[str]) -> None:
        """Once: what of a caption is not read."""
        if (note := cut_note(captions, cut, self._text_reader.limit)) and not self._cut_noted:
            self._cut_noted = True
            LOG.warning("captions such as %s; --text.length reads more", note)


def _some_captions(data: ListsCaptions) -> Iterator[str]:
    """The first ones that differ."""
    known: set[str] = set()
    for caption in data.all_captions():
        if len(known) == NUM_SHOWN:
            return
        if caption not in known and caption != "none":
            known.add(caption)
            yield " ".join(caption.split())


def fill_store(data: TrainingData, progress: bool | None = None) -> None:
    """Read all captions of data whose embeddings are kept on disk, before training begins."""
    if not isinstance(data, _ReadCaptions) or not isinstance(data, ListsCaptions):
        return
    reader = data._text_reader
    if not isinstance(reader, EncodedReader) or reader.store is None:
        return
    captions = dict.fromkeys(data.all_captions())
    if data._short_share:
        captions |= dict.fromkeys(map(first_sentence, list(captions)))
    with progress_bar(progress, total=len(captions), unit="caption") as bar:
        rest = iter(captions)
        while part := list(islice(rest, _AT_ONCE)):
            data._note_cut(part, reader(part).cut)
            bar.update(len(part))
    reader.store.flush()
