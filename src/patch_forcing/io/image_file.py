"""Images are written whole and say what drew them, so that nothing else is written over.

A PNG may hold its settings: a row as samples.json has it, from which the image can be made again.
"""

import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from patch_forcing.io.atomic import atomic_file

SOFTWARE = "patch-forcing"
"""What the field Software of a PNG says, and the comment of a GIF."""
_SETTINGS = "patch-forcing"
"""The field of a PNG that holds its settings, as JSON."""
Settings = Mapping[str, object]


def save_image(
    image: Image.Image, path: Path, settings: Settings | None = None, **options: Any
) -> None:
    """Writes a PNG or a GIF that is whole, or what it was before, and says what drew it.

    settings: how it was made, for a PNG to hold. options: as Pillow takes them.
    """
    write_image(encoded_image(image, path.suffix[1:].upper(), settings, **options), path)


def encoded_image(
    image: Image.Image, kind: str, settings: Settings | None = None, **options: Any
) -> bytes:
    """A file of the kind PNG or GIF that says what drew it. The rest: as `save_image`."""
    mark: dict[str, Any] = {"comment": SOFTWARE}
    if kind == "PNG":
        mark = {"pnginfo": PngInfo()}
        mark["pnginfo"].add_text("Software", SOFTWARE)
        if settings is not None:
            mark["pnginfo"].add_text(_SETTINGS, json.dumps(settings))
    file = BytesIO()
    image.save(file, kind, **mark, **options)
    return file.getvalue()


def write_image(content: bytes, path: Path) -> None:
    """Writes the file whole, or leaves what was there before."""
    with atomic_file(path, durable=False) as aside:
        aside.write_bytes(content)


def is_own_image(path: Path) -> bool:
    """Whether `save_image` wrote it, or a chart of ours."""
    info = _information(path)
    return SOFTWARE in (info.get("Software"), info.get("comment", b"").decode(errors="replace"))


def read_settings(path: Path) -> dict[str, Any] | None:
    """The settings that a PNG holds; None if it holds none, or is no image."""
    try:
        settings = json.loads(_information(path).get(_SETTINGS, ""))
    except (TypeError, ValueError, RecursionError):
        return None
    return settings if isinstance(settings, dict) else None


def _information(path: Path) -> dict[Any, Any]:
    """The fields of a file; none if it is no image."""
    try:
        with Image.open(path, formats=("PNG", "GIF")) as image:
            return image.info
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return {}
