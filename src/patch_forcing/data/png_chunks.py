"""Checksums of a PNG file, and the parts of it that pixels do not depend on.

Pillow looks through text and colour profiles, and refuses a file that has much of them.
"""

import zlib
from struct import Struct

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_TEXT = 2**20
"""Bytes of a text that Pillow reads, decompressed."""
_HEAD = Struct(">I4s")
_IMAGE = Struct(">II2B2xB")
"""Of IHDR: width, height, depth, kind of colour, and whether it is interlaced."""
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Of a pixel, by kind of colour."""
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
           (0, 1, 1, 2))  # fmt: skip
"""Of interlaced images: the first column and row, and the distance to the next."""
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_ORIENTING = (b"Raw profile type exif", b"XML:com.adobe.xmp")
"""Names of texts that may say which way up an image was taken."""


def checked_png(data: bytes) -> tuple[bytes, str]:
    """The file without what pixels do not depend on, and what is wrong with it, or "".

    A part is a chunk: 4 bytes of length, 4 of name, its data, and 4 of their checksum.
    """
    view, kept, place, copied, fault = memoryview(data), list[memoryview](), 8, 0, ""
    while not fault:
        if place + 8 > len(data):
            fault = "truncated PNG file"
            break
        size, name = _HEAD.unpack_from(data, place)
        if name == b"IEND":
            break
        end = place + 12 + size
        if end > len(data):
            fault = f"truncated PNG file (chunk {name!r})"
        elif zlib.crc32(view[place + 4 : end - 4]) != int.from_bytes(view[end - 4 : end]):
            fault = f"broken PNG file (bad checksum in {name!r})"
        elif name == b"iCCP" or (name in _TEXTS and not _orients(name, data[place + 8 : end - 4])):
            kept.append(view[copied:place])
            copied = end
        place = end
    return (b"".join([*kept, view[copied:]]) if kept else data), fault


def _orients(name: bytes, text: bytes) -> bool:
    """Whether it may say which way up the image was taken, and is short enough for Pillow."""
    key, _, rest = text.partition(b"\0")
    if key not in _ORIENTING or len(text) > MAX_TEXT:
        return False
    packed = b""
    if name == b"zTXt":
        packed = rest[1:]
    elif name == b"iTXt" and rest[:1] == b"\1":
        packed = rest[2:].split(b"\0", 2)[-1]
    try:
        return not packed or len(zlib.decompressobj().decompress(packed, MAX_TEXT + 1)) <= MAX_TEXT
    except zlib.error:
        return False


def has_all_rows(data: bytes) -> bool:
    """Whether the pixel data of a sound PNG reach to its end; Pillow leaves the rest black."""
    view, place, packed = memoryview(data), len(SIGNATURE), list[memoryview]()
    width, height, depth, colour, interlaced = _IMAGE.unpack_from(data, place + 8)
    while place + 8 <= len(data):
        size, name = _HEAD.unpack_from(data, place)
        if name == b"IDAT":
            packed.append(view[place + 8 : place + 8 + size])
        place += 12 + size
    missing = 0
    for left, top, right, down in _PASSES if interlaced else ((0, 0, 1, 1),):
        columns, rows = -((left - width) // right), -((top - height) // down)
        row = 1 + -(-columns * _SAMPLES[colour] * depth // 8)  # 1 names the row's filter
        missing += rows * row if columns > 0 else 0
    inflate = zlib.decompressobj()
    for part in packed:
        rest: bytes | memoryview = part
        while rest and missing > 0:
            missing -= len(inflate.decompress(rest, 2**20))
            rest = inflate.unconsumed_tail
    return missing <= 0
