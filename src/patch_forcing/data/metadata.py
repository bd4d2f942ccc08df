"""Captions and labels that lie beside images: metadata.jsonl, or a text file for each image."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from patch_forcing.data.annotations import Annotation, as_object, as_text, checked, from_fields

METADATA = "metadata.jsonl"
"""One JSON object a line: file_name below the folder, and a label or a caption (Hugging Face)."""
CAPTION_ENDING = ".txt"


def read_metadata(root: Path, found: Sequence[str]) -> dict[str, Annotation]:
    """What metadata.jsonl says of each image, by name, sorted.

    found: the images that lie there; one without a row is bad, and so is a row without a sound
    name, which is called by its line. Raises OSError if the file cannot be read.
    """
    rows: dict[str, Annotation] = {}
    with (root / METADATA).open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                name, annotation = _row(line, f"{METADATA}:{number}")
                if name in rows:
                    annotation = Annotation(fault=f"more than one row of {METADATA} names it")
                rows[name] = annotation
    for name in found:
        rows.setdefault(name, Annotation(fault=f"no row of {METADATA} names it"))
    return dict(sorted(rows.items()))


def _row(line: bytes, place: str) -> tuple[str, Annotation]:
    try:
        fields = as_object(line)
    except ValueError as error:
        return place, Annotation(fault=f"the line {error}")
    name = fields.get("file_name")
    if not isinstance(name, str) or not name.strip("/. ") or not _can_be_opened(name):
        return place, Annotation(fault="the line has no file_name")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        return place, Annotation(fault="its file_name leads out of the folder")
    return path.as_posix(), from_fields(fields)


def _can_be_opened(name: str) -> bool:
    try:
        return b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        return False


def images_below(root: Path, endings: tuple[str, ...]) -> Iterator[str]:
    """Names below `root` of all images, however deep; hidden ones are left aside."""
    for place, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = Path(place).relative_to(root)
        for name in files:
            if name.lower().endswith(endings) and not name.startswith("."):
                yield (below / name).as_posix()


def count_captions(root: Path, names: Sequence[str]) -> int:
    """How many of the images have a text file of their name beside them."""
    folders = {str(PurePosixPath(name).parent) for name in names}
    texts = {
        (Path(folder) / text).with_suffix("").as_posix()
        for folder in folders
        for text in os.listdir(root / folder)  # noqa: PTH208  # names alone, a million
        if text.endswith(CAPTION_ENDING)
    }
    return sum(PurePosixPath(name).with_suffix("").as_posix() in texts for name in names)


def read_caption(image: Path) -> Annotation:
    """What the text file beside an image says; it is missing if there is none."""
    file = image.with_suffix(CAPTION_ENDING)
    try:
        return checked(caption=as_text(file.read_bytes()))
    except FileNotFoundError:
        return Annotation()
    except ValueError as error:
        return Annotation(no_caption=f"its caption {error}")
    except OSError as error:
        return Annotation(no_caption=f"its caption cannot be read: {error.strerror}")
