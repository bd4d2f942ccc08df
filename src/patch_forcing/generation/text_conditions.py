"""Texts as conditions: prompts, one for all images, one for each, or several in turn."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Shaped
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.generation.condition_check import PROMPT
from patch_forcing.generation.conditions import Conditions, NoConditions
from patch_forcing.generation.numbers import abridged
from patch_forcing.models.dit import PatchDiT
from patch_forcing.text.conditions import TextReader, cut_note, reader_of
from patch_forcing.text.normal import lines, normal_text, short

LOG = logging.getLogger("patch_forcing")
NONE = "none"
"""In place of one prompt: no condition."""


@dataclass(frozen=True)
class Prompts:
    """Texts; one serves all images. The empty text is the null condition.

    reader: gives what makes a network's condition of them. in_turn: the image of a seed shows
    texts[seed mod their count], even if there are as many seeds.
    """

    texts: tuple[str, ...]
    reader: Callable[[], TextReader] = field(repr=False, compare=False)
    in_turn: bool = False

    @property
    def labels(self) -> None:
        """None: they are no classes."""

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, images: slice) -> "Prompts":
        return Prompts(self.texts[images], self.reader)

    def for_seeds(self, seeds: Sequence[int]) -> "Prompts":
        """One for each seed: in order if there are as many, else texts[seed mod their count]."""
        count = len(self.texts)
        if count == len(seeds) and not self.in_turn:
            return self
        return Prompts(tuple(self.texts[seed % count] for seed in seeds), self.reader)

    def by_seed(self) -> "Prompts":
        """The same, in turn."""
        return replace(self, in_turn=True)

    def tensor(self, device: torch.device | str) -> Shaped[Tensor, "B ..."]:
        """What the network takes. Says what of a text is too long to be read."""
        reader = self.reader()
        condition, cut = reader(self.texts, device)
        if note := cut_note(self.texts, cut, reader.limit):
            LOG.warning("%s", note)
        return condition

    def captions(self, seeds: Sequence[int]) -> list[str]:
        """The beginning of each text."""
        return [short(text, 60) for text in self.texts]

    def record(self, image: int) -> dict[str, object]:
        """The text of one image."""
        return {"prompt": self.texts[image]}

    def plan(self) -> dict[str, object]:
        """The texts; one if they are all the same."""
        return {"prompts": abridged(" | ".join(dict.fromkeys(self.texts)))}


@dataclass(frozen=True)
class TextPrompts:
    """What a model of texts knows: any text. Its encoder is looked for when there is one.

    name: what messages call the model.
    """

    network: PatchDiT = field(repr=False, compare=False)
    name: str = "this model"
    keyword: ClassVar[str] = PROMPT

    @classmethod
    def of(cls, model: PatchDiT, name: str) -> "TextPrompts":
        """Those of a model."""
        return cls(model, name)

    def parse(self, text: str) -> Conditions:
        """One prompt a line; "none" alone is no condition. The encoder is not looked for yet."""
        return self._prompts(lines(text) or [""])

    def choose(self, values: Any) -> Conditions:
        """One prompt, or several; "none" alone is no condition.

        Raises UserError, too, if the model's encoder is missing, or is another one.
        """
        prompts = self._prompts(values)
        if isinstance(prompts, Prompts):
            prompts.reader()
        return prompts

    def _prompts(self, values: Any) -> Conditions:
        given = [values] if isinstance(values, str) else list(values)
        if not given:
            raise UserError("prompt []: give one or more, or leave them out")
        for value in given:
            if not isinstance(value, str):
                raise UserError(f"prompt {value!r}: give a text")
        if given == [NONE]:
            return NoConditions()
        return Prompts(tuple(map(normal_text, given)), self._reader)

    def _reader(self) -> TextReader:
        device = self.network.pos_embed.device
        return reader_of(self.network.config, self.network.data_info.text, device)

    def first(self, limit: int) -> Conditions:
        """No condition, since no text is better than another."""
        return NoConditions(limit)

    def in_turn(self, count: int) -> Conditions:
        """The same, as often."""
        return NoConditions(count)

    evenly = in_turn
