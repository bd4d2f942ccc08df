"""What is written of one image: a text, or several, of which each epoch shows one.

Nothing here needs torch.
"""

import json
import math
from bisect import bisect
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from patch_forcing.data.fields import CAPTION_FIELDS, WEIGHT_FIELDS, first_given, is_null, keys_of

NO_CAPTION = "no caption"
"""There is none; any other reason is of a caption that cannot be used."""


class Several(NamedTuple):
    """Different texts of one image. weights: how often each is shown; empty if all as often."""

    texts: tuple[str, ...]
    weights: tuple[float, ...] = ()


Caption = str | Several
"""Of one image; the empty text is none."""


class CaptionError(ValueError):
    """Why something is no caption, in a few words."""


def texts_of(caption: Caption) -> tuple[str, ...]:
    """All of its texts; none of the empty text."""
    if isinstance(caption, str):
        return (caption,) if caption else ()
    return caption.texts


def drawn(caption: Caption, share: float) -> str:
    """The text that stands at this share, 0 ≤ share < 1, where each is as long as its weight."""
    if isinstance(caption, str):
        return caption
    texts, weights = caption
    if not weights:
        return texts[int(share * len(texts))]
    ends = list(accumulate(weights))
    return texts[min(bisect(ends, share * ends[-1]), len(texts) - 1)]


def joined(pairs: Iterable[tuple[str, Any]]) -> Caption:
    """One caption of texts and their weights. Equal texts are one; what weighs nothing is none.

    Raises CaptionError if a weight is none, or nothing is left.
    """
    total: dict[str, float] = {}
    for text, weight in pairs:
        if isinstance(weight, bool) or not isinstance(weight, int | float):
            raise CaptionError(f"weight {shown(weight)} of a caption is no number")
        if not 0 <= weight < math.inf:
            raise CaptionError(f"weight {weight} of a caption: 0 or more is one")
        total[text] = total.get(text, 0.0) + weight
    kept = {text: weight for text, weight in total.items() if weight > 0}
    if not kept:
        raise CaptionError("captions that all weigh 0" if total else NO_CAPTION)
    if len(kept) == 1:
        return next(iter(kept))
    alike = len(set(kept.values())) == 1
    return Several(tuple(kept), () if alike else tuple(map(float, kept.values())))


def both(one: Caption, other: Caption) -> Caption:
    """The texts of both."""
    return joined([*weighted(one), *weighted(other)])


def weighted(caption: Caption) -> list[tuple[str, float]]:
    """Each of its texts with its weight."""
    texts = texts_of(caption)
    weights = () if isinstance(caption, str) else caption.weights
    return list(zip(texts, weights or (1.0,) * len(texts), strict=True))


def read_caption(value: Any, weights: Any = None) -> Caption:
    """A text; or a list of texts, of objects with `text` and `weight`, or of such pairs.

    weights: of a list of texts, one for each, if they are given.
    Raises CaptionError saying what is wrong.
    """
    if not isinstance(value, list):
        if is_null(value):
            raise CaptionError(NO_CAPTION)
        return _text(value)
    if is_null(weights):
        weights = [None] * len(value)
    if not isinstance(weights, list) or len(weights) != len(value):
        raise CaptionError(f"{len(value)} captions with weights {shown(weights)}: one for each")
    pairs = []
    for one, weight in zip(value, weights, strict=True):
        text, own = _with_weight(one)
        weight = weight if own is None else own
        if not is_null(text) and str(text).strip():
            pairs.append((_text(text), 1.0 if weight is None else weight))
    if not pairs:
        raise CaptionError("empty caption" if value else NO_CAPTION)
    return joined(pairs)


def stored(caption: Caption) -> list[Any]:
    """As JSON has it: texts, or where weights differ pairs of a text and its weight."""
    if isinstance(caption, Several) and caption.weights:
        return [list(pair) for pair in weighted(caption)]
    return list(texts_of(caption))


def restored(row: Sequence[Any]) -> Caption:
    """Of what `stored` made. Raises ValueError, TypeError or CaptionError if it is not that."""
    if not isinstance(row, list):
        raise TypeError
    pairs = [(one, 1.0) if isinstance(one, str) else (one[0], one[1]) for one in row]
    if not all(isinstance(text, str) for text, _ in pairs):
        raise TypeError
    return joined(pairs) if pairs else ""


def shown(value: object) -> str:
    """A value that is none, as it may be shown."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else f"{text[:39]}…"


def half(text: str) -> bool:
    """Whether it cannot be written down: JSON may hold one of the two halves of a character."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def _with_weight(value: Any) -> tuple[Any, Any]:
    if isinstance(value, dict):
        text = first_given([value[name] for name in keys_of(value, CAPTION_FIELDS)])
        return text, first_given([value[name] for name in keys_of(value, WEIGHT_FIELDS)])
    if isinstance(value, list) and len(value) == 2 and not isinstance(value[1], str):
        return value[0], value[1]
    return value, None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise CaptionError(f"caption {shown(value)} is no text")
    if not value.strip():
        raise CaptionError("empty caption")
    if half(value):
        raise CaptionError("half a character in the caption")
    return value.strip()
