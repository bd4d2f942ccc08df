"""Which files are images: by the ending of the name, or by how the file begins."""

from importlib.util import find_spec
from pathlib import PurePath
from typing import BinaryIO

from patch_forcing.data.png_chunks import SIGNATURE

_AVIF = find_spec("PIL._avif") is not None
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", *["AVIF"] * _AVIF)
"""Read whatever the name says. No others: some (EPS) would run programs."""
_JPEG = (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".pjpeg", ".pjp", ".mpo")
USUAL_ENDINGS = (".png", *_JPEG, ".webp", ".bmp", ".gif", ".tif", ".tiff", *[".avif"] * _AVIF)
_RARE_ENDINGS = (".apng", ".dib", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpx")
ENDINGS = USUAL_ENDINGS + _RARE_ENDINGS
"""What an image's name ends in, in upper or lower case. Rare ones may be masks beside an image."""
_OTHERS = (
    " .txt .caption .json .jsonl .csv .tsv .xml .yaml .yml .md .html .htm .log .ini .url .lnk .py "
    ".npy .npz .mat .pt .pth .pkl .ckpt .safetensors .h5 .parquet .arrow .db .mdb .tfrecord "
    ".zip .tar .gz .tgz .bz2 .xz .zst .7z .rar .part .crdownload .tmp .bak .aria2 .lock "
    ".mp4 .m4v .mov .avi .mkv .webm .mp3 .wav .flac .pdf .svg .psd .eps .ai .heic .heif "
)
"""Endings of files that are not looked into."""
_BEGINNINGS = (SIGNATURE, b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")


def ending(name: str) -> str:
    """In lower case, with its dot; empty if there is none."""
    return PurePath(name).suffix.lower()


def is_image_name(name: str) -> bool:
    """Whether a name ends as an image's does; those of hidden files do not count."""
    return name.lower().endswith(ENDINGS) and not name.startswith(".")


def may_be_image(name: str) -> bool:
    """Whether it takes a look at the file to know."""
    return f" {ending(name)} " not in _OTHERS


def begins_as_image(stream: BinaryIO) -> bool:
    """Whether the file is of a kind that is known by its first bytes."""
    start = stream.read(16)
    if start[4:12] in (b"ftypavif", b"ftypavis"):
        return _AVIF
    return start.startswith(_BEGINNINGS) or (start[:4], start[8:12]) == (b"RIFF", b"WEBP")
