"""Conditions that a user gave, held against what the model on this disk knows, without torch.

So that a mistake in a class's name is answered at once.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from patch_forcing.core.errors import UserError
from patch_forcing.generation.find import config_here
from patch_forcing.generation.known_classes import KnownClasses
from patch_forcing.models.config_file import read_config_file


def check_conditions(model: str | Path, values: Mapping[str, Any]) -> None:
    """Raises UserError for classes that the model does not know, or for prompts where it has them.

    model: as users name it. values: by their keywords, as the command line has them. What is not
    on this disk, or conditions of another kind, are left to when the model is loaded.
    """
    if all(value is None for value in values.values()):
        return
    file = config_here(model)
    if file is None:
        return
    try:
        config = read_config_file(file)
    except UserError:  # the loader says why, or takes an older checkpoint
        return
    num_classes = config.sizes.get("num_classes")
    if config.sizes.get("condition", "class") != "class" or not isinstance(num_classes, int):
        return
    labels = given_conditions("labels", values)
    if isinstance(labels, str):
        KnownClasses(num_classes, config.data_info.class_names, str(model)).read(labels)


def given_conditions(keyword: str, values: Mapping[str, Any]) -> Any:
    """The value that is not None; None if all are. Raises UserError for that of another keyword.

    keyword: of the conditions that a model takes.
    """
    for name, value in values.items():
        if value is not None and name != keyword:
            raise UserError(f"{name} {value!r}: this model takes {keyword}: give those")
    return values.get(keyword)
