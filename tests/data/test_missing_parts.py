"""Rows, strips and tiles that a file has no data for make it bad; black ones do not."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from patch_forcing.data.images import BadImageError, read_image
from patch_forcing.data.missing_parts import names_all_parts
from patch_forcing.data.png_chunks import SIGNATURE
from tests.support.image_files import chunk, encoded, noise, png

SIZE = 16
ROWS = "truncated"
PARTS = "strips or tiles of it are missing"
KINDS = [(0, 1, 1), (0, 8, 1), (0, 16, 1), (2, 8, 3), (2, 16, 3), (3, 4, 1), (4, 8, 2), (6, 16, 4)]
"""Of PNG: kinds of colour, with bits a sample and samples a pixel."""
PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
          (0, 1, 1, 2)]  # fmt: skip


def is_read(data, tmp_path, reason):
    (tmp_path / "x").write_bytes(data)
    try:
        read_image(tmp_path / "x", SIZE, 3, "crop")
    except BadImageError as error:
        assert reason in str(error)
        return False
    return True


def with_palette(data):
    return data[:33] + chunk(b"PLTE", bytes(48)) + data[33:]


@pytest.mark.parametrize(("colour", "depth", "samples"), KINDS)
def test_a_png_with_data_for_a_part_of_its_rows_is_bad(tmp_path, colour, depth, samples):
    row = b"\0" + bytes(SIZE * samples * depth // 8)  # black: such a row is sound
    lit = b"\0" + b"\xff" * (SIZE * samples * depth // 8)
    for rows, sound in (([row] * SIZE, True), ([lit] * (SIZE - 1), False), ([row] * 3, False)):
        data = png(SIZE, SIZE, b"".join(rows), colour, depth)
        assert is_read(with_palette(data), tmp_path, ROWS) is sound
    cut_in_a_row = png(SIZE, SIZE, (row * SIZE)[:-1], colour, depth)
    assert not is_read(with_palette(cut_in_a_row), tmp_path, ROWS)


def interlaced(pixels, kept=None):
    """A PNG of these pixels (H, W, 3), with some of its interlaced data. Returns their size too."""
    passes = [pixels[top::down, left::right] for left, top, right, down in PASSES]
    packed = b"".join(b"\0" + row.tobytes() for one in passes if one.shape[1] for row in one)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 2, 0, 0, 1)
    data = chunk(b"IDAT", zlib.compress(packed[:kept]))
    return SIGNATURE + chunk(b"IHDR", header) + data + chunk(b"IEND", b""), len(packed)


@pytest.mark.parametrize(
    "size", [(16, 16), (1, 1), (2, 3), (3, 2), (5, 9), (9, 5), (17, 1), (1, 17)]
)
def test_an_interlaced_png_has_all_its_passes_or_is_bad(tmp_path, size):
    data, length = interlaced(noise(*size))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), noise(*size))  # as made here
    assert is_read(data, tmp_path, ROWS)
    for kept in {length - 1, length // 2}:
        assert not is_read(interlaced(noise(*size), kept)[0], tmp_path, ROWS)


def test_pixel_data_may_lie_in_many_chunks_and_reach_too_far(tmp_path):
    packed = zlib.compress(bytes((3 * SIZE + 1) * (SIZE + 5)))
    parts = b"".join(chunk(b"IDAT", packed[place : place + 1]) for place in range(len(packed)))
    whole = png(SIZE, SIZE, b"", 2)
    start, end = whole.index(b"IDAT") - 4, whole.index(b"IEND") - 4
    assert is_read(whole[:start] + parts + whole[end:], tmp_path, ROWS)


STRIPS = encoded(noise(SIZE, SIZE), "TIFF", tiffinfo={278: 4})
"""Four of them, of four rows each."""


def changed(tag, values=(), count=4):
    """STRIPS with other values of a tag, or fewer of them."""
    data, start = bytearray(STRIPS), int.from_bytes(STRIPS[4:8], "little")
    (entry,) = (
        start + 2 + 12 * number
        for number in range(int.from_bytes(STRIPS[start : start + 2], "little"))
        if STRIPS[start + 2 + 12 * number :][:2] == struct.pack("<H", tag)
    )
    kind, _, place = struct.unpack_from("<HII", data, entry + 2)
    struct.pack_into("<I", data, entry + 4, count)
    size = {3: "H", 4: "I"}[kind]
    for number, value in enumerate(values):
        struct.pack_into(f"<{size}", data, (entry + 8 if count == 1 else place) + 4 * number, value)
    return bytes(data)


def test_a_tiff_of_all_strips_is_read_and_one_that_lacks_some_is_bad(tmp_path):
    assert is_read(STRIPS, tmp_path, PARTS)
    few = changed(273, count=3), changed(278, [3], count=1), changed(284, [2], count=1)
    for data in (*few, changed(273, [0]), changed(279, [0])):
        assert not is_read(data, tmp_path, PARTS)
    one = encoded(noise(SIZE, SIZE), "TIFF")
    assert is_read(one, tmp_path, PARTS)


TILED = {256: 33, 257: 20, 277: 3, 322: 16, 323: 16, 324: tuple(range(1, 7)), 325: (9,) * 6}


@pytest.mark.parametrize(
    ("tags", "all_there"),
    [
        (TILED, True),
        (TILED | {324: (1,) * 5}, False),
        (TILED | {284: 2}, False),
        (TILED | {284: 2, 324: (1,) * 18, 325: (9,) * 18}, True),
        ({256: 9, 257: 9, 273: (8,), 278: 2**32 - 1}, True),  # as many rows as there are
        ({256: 9, 257: 9, 273: 8}, True),
        ({256: 9, 257: 9}, False),
    ],
)
def test_tiles_are_counted_in_both_directions_and_in_each_plane(tags, all_there):
    assert names_all_parts(tags) is all_there
