"""One item of a torch Dataset → pixels and a class, or the sentence that says why not.

An image is PIL's, or a tensor (C, H, W) of uint8 or floats, of 1 or 3 channels. A condition is a
class, a whole number from 0, or None. Class names and targets are found as torchvision's data sets
have them.
"""

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import IterableDataset, Subset

from patch_forcing.core.errors import UserError
from patch_forcing.data.images import GREY_MODES, BadImageError, drawn


class Item(NamedTuple):
    """pixels (C, H, W): uint8, or fp32 as the data set gives them. label: None: unconditional."""

    pixels: Tensor
    label: int | None


def read_item(dataset: Any, number: int) -> Item:
    """The item of that number. Raises UserError, naming it, if it is no (image, condition)."""
    try:
        item = dataset[number]
    except Exception as error:  # whatever a foreign data set raises
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"item {number} of the data set cannot be read ({type(error).__name__}: {reason}): "
            "mend the data set"
        ) from None
    if not (isinstance(item, tuple | list) and len(item) == 2):
        raise UserError(
            f"item {number} of the data set is a {type(item).__name__}: give (image, class), or "
            "(image, None)"
        )
    return Item(_pixels(number, item[0]), _label(number, item[1]))


def count_items(dataset: Any) -> int:
    """How many items. Raises UserError if they have no numbers, or if there are none."""
    kind = type(dataset).__name__
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__"):
        raise UserError(
            f"{kind} has no items by number, which order and resuming need: give a map-style data "
            "set, with __getitem__ and __len__, such as list(dataset)"
        )
    try:
        count = len(dataset)
    except (TypeError, NotImplementedError):
        raise UserError(f"{kind} has no length: give it __len__") from None
    if count < 1:
        raise UserError(f"{kind} is empty: give one item or more")
    return count


def class_names(dataset: Any) -> tuple[str, ...]:
    """The data set's `classes`, or those of which it is a subset; none if there are none."""
    if isinstance(dataset, Subset):
        return class_names(dataset.dataset)
    names = getattr(dataset, "classes", ())
    named = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
    return tuple(names) if named else ()


def targets(dataset: Any) -> Sequence[int] | None:
    """The classes of all items, where the data set has them at hand."""
    try:
        return [operator.index(target) for target in dataset.targets] or None
    except (AttributeError, TypeError, ValueError):
        return None


def type_name(dtype: torch.dtype) -> str:
    """Such as uint8."""
    return str(dtype).removeprefix("torch.")


def _pixels(number: int, image: Any) -> Tensor:
    if isinstance(image, Image.Image):
        try:
            pixels = np.array(drawn(image, 1 if image.mode in GREY_MODES else 3))
        except BadImageError as error:
            raise UserError(f"item {number} of the data set: {error}") from None
        return torch.from_numpy(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))
    if not isinstance(image, Tensor) or image.ndim != 3 or image.shape[0] not in (1, 3):
        kind = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
        raise UserError(
            f"the image of item {number} of the data set is {kind}: give PIL's, or a tensor "
            "(C, H, W) of 1 or 3 channels"
        )
    if image.dtype != torch.uint8 and not image.is_floating_point():
        raise UserError(
            f"the image of item {number} of the data set is {type_name(image.dtype)}: give uint8, "
            "or floats in [0, 1] or [-1, 1]"
        )
    return image if image.dtype == torch.uint8 else image.float()


def _label(number: int, condition: Any) -> int | None:
    if condition is None:
        return None
    try:
        if isinstance(condition, bool | str):
            raise TypeError
        return operator.index(condition)  # of numpy too, and of tensors without axes
    except (TypeError, ValueError):
        raise UserError(
            f"item {number} of the data set has the condition {condition!r}: give a class, a whole "
            "number from 0, or None"
        ) from None
