"""Repositories and folders that hold no model of this format: what they hold instead."""

from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
"""How files are named that run code as they are read."""
PIPELINE = "model_index.json"
"""What a pipeline of diffusers says of its parts."""


def instead(names: Iterable[str], pipeline: Mapping[str, Any] | None = None) -> str:
    """What is there in place of a model, and what to do with it; "" if nobody knows.

    names: of the files. pipeline: the contents of model_index.json, if it is there.
    """
    names = sorted(names)
    if pipeline is not None:
        kind = str(pipeline.get("_class_name"))[:60]
        return f"it is a pipeline of diffusers ({kind}): load it with diffusers"
    pickles = [name for name in names if PurePath(name).suffix in PICKLES]
    if pickles:
        return (
            f"its weights are a pickle ({pickles[0]}), which is never loaded: bring the file here, "
            "and patch-forcing convert FILE --out DIR"
        )
    return ""


def asks_for_code(config: Mapping[str, Any]) -> str:
    """The key by which a config asks to run code that lies beside it; "" if it does not."""
    keys = ("auto_map", "trust_remote_code", "custom_pipelines")
    return next((key for key in keys if config.get(key)), "")
