"""Folders that are parts of a data set, such as train and test, and no classes of it."""

import re
from collections.abc import Sequence
from typing import NamedTuple

_TRAIN = frozenset(("train", "training", "trn", "trainset", "trainval"))
_HELD_OUT = frozenset((
    "test", "testing", "tst", "testset", "val", "valid", "validation", "valset", "dev", "eval",
    "evaluation", "holdout", "heldout",
))  # fmt: skip
_FILLERS = frozenset((
    "set", "split", "data", "dataset", "image", "images", "img", "imgs", "pictures", "folder",
))  # fmt: skip
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_a-zA-Z]+")


class Split(NamedTuple):
    """trains: whether it is for training. rest: the other words of its name."""

    trains: bool
    rest: tuple[str, ...]


def split_of(name: str) -> Split | None:
    """What split a name means: train2017, seg_train and TrainA do, trains does not."""
    words = [word.lower() for word in _WORD.findall(name)]
    parts = [word for word in words if word in _TRAIN | _HELD_OUT]
    if not parts:
        return None
    rest = tuple(word for word in words if word not in _TRAIN | _HELD_OUT | _FILLERS)
    return Split(parts[0] in _TRAIN, rest)


def splits_among(names: Sequence[str]) -> list[str]:
    """Those of the names that are splits, the one to train on first; none if they may be classes.

    They are, if there are no others, or if one for training has a counterpart.
    """
    splits = {name: split for name in names if (split := split_of(name)) is not None}
    alone = len(splits) == len(names) and not any(split.rest for split in splits.values())
    both = [
        {split.rest for split in splits.values() if split.trains is side} for side in (True, False)
    ]
    meant = [name for name in splits if alone or splits[name].rest in both[0] & both[1]]
    return sorted(meant, key=lambda name: (not splits[name].trains, name))


def doubtful(names: Sequence[str]) -> list[str]:
    """Those of the names, taken for classes, that alone would be splits."""
    return [name for name in names if (split := split_of(name)) is not None and not split.rest]
