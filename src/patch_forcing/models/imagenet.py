"""What the classes of ImageNet-1k are called."""

from functools import cache
from importlib.resources import files


@cache
def imagenet_classes() -> tuple[str, ...]:
    """The 1000 names, in label order; imagenet_classes.txt says where they are from."""
    text = files("patch_forcing.models").joinpath("imagenet_classes.txt").read_text("utf-8")
    return tuple(line for line in text.splitlines() if not line.startswith("#"))
