"""Images are written whole and say what drew them, so that nothing else is written over."""

from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from patch_forcing.io.atomic import atomic_file

SOFTWARE = "patch-forcing"
"""What the field Software of a PNG says, and the comment of a GIF."""


def save_image(image: Image.Image, path: Path, **options: Any) -> None:
    """Writes a PNG or a GIF that is whole, or what it was before, and says what drew it.

    options: as Pillow takes them.
    """
    mark: dict[str, Any] = {"comment": SOFTWARE}
    if path.suffix == ".png":
        mark = {"pnginfo": PngInfo()}
        mark["pnginfo"].add_text("Software", SOFTWARE)
    with atomic_file(path, durable=False) as aside:
        image.save(aside, path.suffix[1:].upper(), **mark, **options)


def is_own_image(path: Path) -> bool:
    """Whether `save_image` wrote it, or a chart of ours."""
    try:
        with Image.open(path, formats=("PNG", "GIF")) as image:
            info = image.info
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
    return SOFTWARE in (info.get("Software"), info.get("comment", b"").decode(errors="replace"))
