"""What a recipe knows of its data before they are opened, which takes no torch."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from patch_forcing.data.batch import TrainingData


@runtime_checkable
class SampleSizes(Protocol):
    """What the sizes of a network follow from."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """C, H, W of every sample."""

    @property
    def num_classes(self) -> int:
        """How many labels there are; 0 is unconditional."""


@runtime_checkable
class Captioned(Protocol):
    """Data whose batches may have captions."""

    @property
    def place(self) -> str:
        """Where the data come from, as the user calls it."""

    @property
    def captioned(self) -> bool:
        """Whether batches have captions, and no condition yet."""


@runtime_checkable
class ListsCaptions(Protocol):
    """Data that can tell their captions without their images."""

    def all_captions(self) -> Iterable[str]:
        """All of them, in an order that stays."""


@runtime_checkable
class SeveralSizes(Protocol):
    """Data of which each batch is of one of several sizes."""

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Heights and widths, of about as many pixels as `shape` has."""


@runtime_checkable
class GivesTexts(Protocol):
    """Data whose captions are conditions of a network of texts (runs/texts.py)."""

    @property
    def text_condition(self) -> str:
        """The kind of condition, as the config of a network names it."""

    @property
    def shown_texts(self) -> tuple[str, ...]:
        """Some that show what a model can; none if nobody knows."""


@runtime_checkable
class DataSource(Protocol):
    """A recipe's choice of data, with its options."""

    def open(self) -> "TrainingData":
        """Read it. Raises UserError if it is not there."""


@runtime_checkable
class ChecksPlace(Protocol):
    """A choice of data that says early, before torch is loaded, what is not there."""

    def check(self) -> None:
        """Raises UserError if there is nothing to open."""
