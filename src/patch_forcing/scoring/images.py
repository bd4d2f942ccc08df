"""What a set of images is that is measured: of a folder, an array, a data set or a model."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from jaxtyping import UInt8
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.generation.numbers import write_numbers

Size = tuple[int, int]
"""Height and width."""
FITTED = "centre crop, halved by boxes, then bicubic (ADM)"
SAMPLING = (
    "sampler", "grid", "guidance", "guidance_interval", "guidance_schedule", "guidance_kind",
    "weak_model_hash", "compat",
)  # fmt: skip
"""What a record says of how images were sampled, besides what it took."""


@runtime_checkable
class ImageSet(Protocol):
    """Images by number, in an order that depends on nothing else.

    labels: the name of each image's class, or its number where classes have no names; None: no
    classes. prompts: the text that each was sampled for, or that is written of it; None: no texts.
    seeds: of images that were sampled; None: not known.
    """

    @property
    def name(self) -> str:
        """What the user calls them."""

    @property
    def count(self) -> int:
        """How many there are."""

    @property
    def size(self) -> Size:
        """Of every image."""

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The class of each."""

    @property
    def prompts(self) -> tuple[str, ...] | None:
        """The text of each."""

    @property
    def seeds(self) -> tuple[int, ...] | None:
        """The seed of each."""

    def batch(self, places: slice) -> UInt8[Tensor, "B 3 H W"]:
        """These images. Raises UserError if one is bad."""

    def evaluations(self, places: slice) -> list[float] | None:
        """Network evaluations of each, if they are known once `batch` was called."""

    def recipe(self) -> dict[str, Any]:
        """What a record says of them: kind, name, and how they were made."""

    def plan(self) -> dict[str, Any]:
        """All that the images depend on."""


def sampled(row: dict[str, Any]) -> dict[str, Any]:
    """How images were sampled, from a row of samples.json or the plan of an array."""
    known = {key: row.get(key) for key in SAMPLING}
    return {"model_hash": row.get("model_hash"), "sampling": known}


def counted(name: str, there: int, wanted: int | None) -> int:
    """How many of the images that are there are measured. Raises UserError for more."""
    if wanted is not None and wanted > there:
        raise UserError(f"{name} holds {there} images, --count {wanted} is more: lower it")
    return there if wanted is None else wanted


def seeds_text(seeds: Sequence[int] | None) -> str | None:
    """Seeds as a record writes them."""
    return None if seeds is None else write_numbers(seeds)
