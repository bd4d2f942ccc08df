"""Samples of every depth come out as the nearest of 256 steps, or the file is named as bad."""

import struct

import numpy as np
import pytest
from PIL import Image

from patch_forcing.data.images import BadImageError, drawn, reading
from tests.support.image_files import chunk, encoded, noise, png

SIZE = 12
RNG = np.random.default_rng(3)
GREY, RGB = 0, 2
UNKNOWN = [(12, True, "<"), (12, True, ">"), (12, False, ">"), (16, True, ">")]
"""Depth, whether white is 0, and order of bytes of TIFF files that Pillow does not read."""


def packed(samples, depth):
    """Rows of samples (H, W × C) as PNG and TIFF store them, the first sample in the high bits."""
    if depth == 16:
        return [row.astype(">u2").tobytes() for row in samples]
    bits = (samples[..., None] >> np.arange(depth)[::-1]) & 1
    return [np.packbits(row.reshape(-1).astype(np.uint8)).tobytes() for row in bits]


def stored(samples, depth, colour, clear=None):
    rows = packed(samples.reshape(len(samples), -1), depth)
    data = png(samples.shape[1], len(rows), b"".join(b"\0" + row for row in rows), colour, depth)
    if clear is None:
        return data
    return data[:33] + chunk(b"tRNS", struct.pack(f">{len(clear)}H", *clear)) + data[33:]


def tiff(data, bits, photometric=1, kind=1, order="<", **more):
    """An uncompressed TIFF of one strip. kind: its sample format. more: further tags by number."""
    tags = {256: SIZE, 257: SIZE, 258: bits, 259: 1, 262: photometric, 273: 0, 277: len(bits),
            278: SIZE, 279: len(data), 339: (kind,) * len(bits)}  # fmt: skip
    tags |= {int(tag): value for tag, value in more.items()}
    start = 8 + 2 + 12 * len(tags) + 4
    entries, extra = b"", b""
    for tag, value in sorted(tags.items()):
        values = value if isinstance(value, tuple) else (value,)
        body = struct.pack(f"{order}{len(values)}H", *values)
        if len(body) > 4:
            body, extra = struct.pack(f"{order}I", start + len(extra)), extra + body
        elif tag == 273:
            body = b"place"
        entries += struct.pack(f"{order}HHI", tag, 3, len(values)) + body.ljust(4, b"\0")[:4]
    entries = entries.replace(b"plac", struct.pack(f"{order}HH", start + len(extra), 0))
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HIH", 42, 8, len(tags))
    return head + entries + bytes(4) + extra + data


def pixels(tmp_path, data, channels=3):
    (tmp_path / "x").write_bytes(data)
    with reading(tmp_path / "x") as image:
        return np.asarray(drawn(image, channels)).astype(int)


def nearest(samples, depth):
    return np.rint(samples * 255 / (2**depth - 1)).astype(int)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_transparent_grey_of_a_png_is_white(tmp_path, depth):
    samples = RNG.integers(0, 2**depth, (SIZE, SIZE))
    clear = int(samples[2, 3])
    expected = np.where(samples == clear, 255, nearest(samples, depth))
    data = stored(samples, depth, GREY, [clear])
    assert (pixels(tmp_path, data, 1) == expected).all()
    assert (pixels(tmp_path, data) == expected[..., None]).all()
    assert (pixels(tmp_path, stored(samples, depth, GREY), 1) == nearest(samples, depth)).all()


@pytest.mark.parametrize("depth", [8, 16])
def test_a_transparent_colour_of_a_png_is_white_and_its_neighbour_is_not(tmp_path, depth):
    samples = RNG.integers(0, 2**depth, (SIZE, SIZE, 3))
    clear = samples[2, 3].copy()
    samples[4:6] = clear
    samples[6] = clear
    samples[6, :, 2] += 1 if clear[2] == 0 else -1
    mask = (samples == clear).all(-1)
    assert not mask[6].any()
    expected = np.where(mask[..., None], 255, nearest(samples, depth))
    assert (pixels(tmp_path, stored(samples, depth, RGB, clear)) == expected).all()


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bits_of_a_png_are_rounded(tmp_path, colour, channels):
    samples = RNG.integers(0, 2**16, (SIZE, SIZE, channels))
    if colour in (4, 6):
        samples[..., -1] = 65535
    steps = nearest(samples, 16)[..., : 1 if channels < 3 else 3]
    assert (steps != samples[..., : steps.shape[-1]] >> 8).any()
    assert (pixels(tmp_path, stored(samples, 16, colour)) == steps).all()


@pytest.mark.parametrize(("colour", "channels"), [(4, 2), (6, 4)])
def test_16_bits_of_alpha_are_drawn_on_white(tmp_path, colour, channels):
    samples = RNG.integers(0, 2**16, (SIZE, SIZE, channels))
    alpha = samples[..., -1:] / 65535
    expected = samples[..., :-1] / 257 * alpha + 255 * (1 - alpha)
    assert np.abs(pixels(tmp_path, stored(samples, 16, colour)) - expected).max() <= 1.5


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("white_is_zero", [True, False])
@pytest.mark.parametrize("depth", [1, 2, 4, 8, 12, 16])
def test_grey_of_a_tiff_is_right_or_bad(tmp_path, depth, white_is_zero, order):
    samples = RNG.integers(0, 2**depth, (SIZE, SIZE))
    rows = packed(samples, depth)
    if depth == 16:
        rows = [row.astype(f"{order}u2").tobytes() for row in samples]
    data = tiff(b"".join(rows), (depth,), 0 if white_is_zero else 1, order=order)
    expected = nearest(samples, depth)
    if (depth, white_is_zero, order) in UNKNOWN:
        with pytest.raises(BadImageError):
            pixels(tmp_path, data)
    else:
        got = pixels(tmp_path, data, 1)
        assert (got == (255 - expected if white_is_zero else expected)).all()


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", None])
@pytest.mark.parametrize("white_is_zero", [True, False])
def test_16_bits_of_a_compressed_tiff_are_right(tmp_path, compression, white_is_zero):
    samples = RNG.integers(0, 2**16, (SIZE, SIZE)).astype(np.uint16)
    tags = {262: 0} if white_is_zero else {}
    deep = samples.astype(int)
    data = encoded(Image.fromarray(samples), "TIFF", compression=compression, tiffinfo=tags)
    expected = nearest(65535 - deep if white_is_zero else deep, 16)
    got = pixels(tmp_path, data, 1)
    assert Image.open(tmp_path / "x").tag_v2[262] == (not white_is_zero)
    assert (got == expected).all()


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bits_of_colour_of_a_tiff_are_rounded(tmp_path, order):
    samples = RNG.integers(0, 2**16, (SIZE, SIZE, 3))
    data = samples.astype(f"{order}u2").tobytes()
    got = pixels(tmp_path, tiff(data, (16, 16, 16), RGB, order=order))
    assert (got == nearest(samples, 16)).all()


BAD = {
    "32 bits": (tiff(np.full(SIZE**2, 200, "<u4").tobytes(), (32,)), "more than 16 bits"),
    "32 bits with a sign": (
        tiff(np.full(SIZE**2, 200, "<i4").tobytes(), (32,), kind=2), "more than 16 bits",
    ),
    "16 bits with a sign": (
        tiff(np.full(SIZE**2, 200, "<i2").tobytes(), (16,), kind=2), "pixels with a sign",
    ),
    "8 bits with a sign": (tiff(bytes(SIZE**2), (8,), kind=2), "pixels with a sign"),
    "floats": (tiff(np.ones(SIZE**2, "<f4").tobytes(), (32,), kind=3), "floating-point pixels"),
    "half floats": (tiff(np.ones(SIZE**2, "<f2").tobytes(), (16,), kind=3), "no image of a known"),
    "doubles": (tiff(np.ones(SIZE**2, "<f8").tobytes(), (64,), kind=3), "no image of a known"),
    "10 bits": (tiff(bytes(SIZE * 15), (10,)), "no image of a known"),
    "14 bits": (tiff(bytes(SIZE * 21), (14,)), "no image of a known"),
    "32 bits of colour": (tiff(bytes(SIZE**2 * 12), (32,) * 3, RGB), "no image of a known"),
    "colours apart": (
        tiff(noise(SIZE, SIZE * 2).tobytes(), (16,) * 3, RGB, **{"284": 2, "273": (200,) * 3}),
        "colours one after",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_samples_without_a_known_range_are_bad_and_never_dark(tmp_path, case):
    data, reason = BAD[case]
    with pytest.raises(BadImageError, match=reason):
        pixels(tmp_path, data)


def test_images_from_python_are_as_files_are():
    deep = RNG.integers(0, 2**16, (SIZE, SIZE)).astype(np.uint16)
    assert (np.asarray(drawn(Image.fromarray(deep), 1)) == nearest(deep.astype(int), 16)).all()
