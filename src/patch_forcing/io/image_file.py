"""Images are written whole and say what drew them, so that nothing else is written over."""

from io import BytesIO
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
    write_image(encoded_image(image, path.suffix[1:].upper(), **options), path)


def encoded_image(image: Image.Image, kind: str, **options: Any) -> bytes:
    """A file of the kind PNG or GIF that says what drew it. options: as Pillow takes them."""
    mark: dict[str, Any] = {"comment": SOFTWARE}
    if kind == "PNG":
        mark = {"pnginfo": PngInfo()}
        mark["pnginfo"].add_text("Software", SOFTWARE)
    file = BytesIO()
    image.save(file, kind, **mark, **options)
    return file.getvalue()


def write_image(content: bytes, path: Path) -> None:
    """Writes the file whole, or leaves what was there before."""
    with atomic_file(path, durable=False) as aside:
        aside.write_bytes(content)


def is_own_image(path: Path) -> bool:
    """Whether `save_image` wrote it, or a chart of ours."""
    try:
        with Image.open(path, formats=("PNG", "GIF")) as image:
            info = image.info
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
    return SOFTWARE in (info.get("Software"), info.get("comment", b"").decode(errors="replace"))
