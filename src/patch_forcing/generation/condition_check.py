"""Conditions that a user gave, held against what the model on this disk knows, without torch.

So that a mistake in a class's name, or labels for a model of texts, are answered at once.
"""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from patch_forcing.core.errors import UserError
from patch_forcing.generation.find import config_here
from patch_forcing.generation.known_classes import KnownClasses
from patch_forcing.models.config_file import read_config_file
from patch_forcing.text.normal import normal_text, short

LABELS, PROMPT = "labels", "prompt"
"""The arguments and options that give conditions: classes, or texts."""
KEYWORDS = {"class": LABELS, "text": PROMPT, "bytes": PROMPT}
"""By the names that `PatchDiTConfig.condition` knows."""


def check_conditions(model: str | Path, values: Mapping[str, Any]) -> None:
    """Raises UserError for classes that the model does not know, and for conditions of a kind that
    it does not take.

    model: as users name it. values: by their keywords, as the command line has them. What is not
    on this disk is left to when the model is loaded.
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
    keyword = KEYWORDS.get(str(config.sizes.get("condition", "class")).partition(":")[0])
    if keyword is None or not isinstance(num_classes, int):
        return
    if keyword == LABELS and num_classes == 0 and values.get(PROMPT) is not None:
        raise UserError(f"--prompt: {model} knows neither classes nor texts: leave it out")
    value = given_conditions(keyword, values, model=str(model), option="--")
    if keyword == LABELS and isinstance(value, str):
        KnownClasses(num_classes, config.data_info.class_names, str(model)).read(value)


def given_conditions(
    keyword: str, values: Mapping[str, Any], *, model: str = "this model", option: str = ""
) -> Any:
    """The value that is not None; None if all are. Raises UserError for that of another keyword.

    keyword: of the conditions that a model takes. option: before keywords that are options.
    """
    for name, value in values.items():
        if value is not None and name != keyword:
            given = f"{option}{name} {_as_typed(value) if option else repr(value)}"
            raise UserError(f"{given}: {model} takes {option}{keyword}: give those")
    return values.get(keyword)


def _as_typed(value: str | list[str]) -> str:
    """What stood behind an option, the beginning of it; of several, the first."""
    first, *others = [value] if isinstance(value, str) else value
    more = f" and {len(others)} more" if others else ""
    return f"{shlex.quote(short(normal_text(first)))}{more}"
