"""Every file is read right or is bad with a reason; squares are what an independent way gives."""

import os
import socket
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from patch_forcing.data.images import BadImageError, drawn, read_header, read_image, reading
from tests.support.image_files import (
    BAD,
    BMP,
    COLOURS,
    DEFLATED,
    GIF,
    JPEG,
    LOSSY,
    NOISE,
    PNG,
    PROGRESSIVE,
    TIFF,
    WEBP,
    chunk,
    cut,
    encoded,
    noise,
)


@pytest.mark.parametrize("name", BAD)
def test_a_damaged_file_is_bad_and_says_why(tmp_path, name):
    data, reason = BAD[name]
    file = tmp_path / name
    file.write_bytes(data)
    with pytest.raises(BadImageError, match=reason) as first:
        read_image(file, 16, 3, "crop")
    with pytest.raises(BadImageError) as again:
        read_image(file, 16, 3, "crop")
    assert str(first.value) == str(again.value)
    assert "\n" not in str(first.value)
    assert "0x" not in str(first.value)
    assert len(str(first.value)) > 4


@pytest.mark.parametrize("kind", ["folder", "link", "pipe", "socket", "device", "missing"])
def test_what_is_no_file_is_bad_and_is_not_waited_for(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    file = tmp_path / "x.png"
    if kind == "folder":
        file.mkdir()
    elif kind == "link":
        file.symlink_to(tmp_path / "gone.png")
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as door:
            door.bind("x.png")
    elif kind == "device":
        file.symlink_to("/dev/zero")
    reason = {"folder": "a folder", "link": "No such file", "missing": "No such file"}
    with pytest.raises(BadImageError, match=reason.get(kind, "not a regular file")):
        read_image(file, 16, 3, "crop")


def test_a_file_that_may_not_be_read_is_bad(tmp_path, monkeypatch):
    file = tmp_path / "x.png"
    file.write_bytes(PNG)
    if os.geteuid():
        file.chmod(0)
    else:  # who may read everything has to pretend

        def refuse(*_args):
            raise PermissionError(13, "Permission denied", str(file))

        monkeypatch.setattr(type(file), "open", refuse)
    with pytest.raises(BadImageError, match=r"^Permission denied$"):
        read_image(file, 16, 3, "crop")


def pixels(data, tmp_path, channels=3, name="x.png"):
    """The file as it is drawn, before any resizing, (H, W) or (H, W, C)."""
    (tmp_path / name).write_bytes(data)
    with reading(tmp_path / name) as image:
        return np.asarray(drawn(image, channels))


def over_white(rgba):
    alpha = rgba[..., 3:].astype(float) / 255
    return rgba[..., :3] * alpha + 255 * (1 - alpha)


def with_texts(**texts):
    """The noisy PNG with these chunks before its pixels and behind them."""
    chunks = b"".join(chunk(name.encode(), data) for name, data in texts.items())
    behind = b"".join(chunk(n.encode(), d) for n, d in texts.items() if n != "iCCP")
    return PNG[:33] + chunks + PNG[33:-12] + behind + PNG[-12:]


ZEROS = zlib.compress(bytes(2**21))
LONG = b"workflow\0\0" + ZEROS
GREY = noise(channels=1)
RGBA = np.concatenate([NOISE, noise(channels=1, seed=1)[..., None]], -1)
DEEP = np.random.default_rng(2).integers(0, 65536, (20, 24), np.uint16)
PALETTE = Image.fromarray(NOISE).quantize(16)
BITS = Image.fromarray(GREY).convert("1")
CLEAR = Image.fromarray(NOISE).quantize(16)
CLEAR_ALPHA = bytes(range(0, 256, 16))
FRAMES = [PALETTE, Image.fromarray(noise(seed=5)).quantize(16)]
AS_RGB = np.asarray(PALETTE.convert("RGB"))


def _grey(values):
    return np.repeat(np.asarray(values)[..., None], 3, -1)


GOOD = {
    "png": (PNG, NOISE),
    "upper-case ending": (PNG, NOISE),
    "garbage after the end": (PNG + b"garbage" * 99, NOISE),
    "a jpeg called png": (encoded(COLOURS, "JPEG", quality=95, subsampling=0), COLOURS),
    "bmp": (BMP, NOISE),
    "tiff": (TIFF, NOISE),
    "lzw tiff": (encoded(NOISE, "TIFF", compression="tiff_lzw"), NOISE),
    "webp": (WEBP, NOISE),
    "grey": (encoded(GREY), _grey(GREY)),
    "grey and alpha": (
        encoded(Image.fromarray(RGBA).convert("LA")),
        over_white(np.asarray(Image.fromarray(RGBA).convert("LA").convert("RGBA"))),
    ),
    "alpha": (encoded(RGBA), over_white(RGBA)),
    "1 bit": (encoded(BITS), _grey(np.asarray(BITS) * 255)),
    "16 bits": (encoded(Image.fromarray(DEEP)), _grey(DEEP / 257)),
    "16-bit tiff": (encoded(Image.fromarray(DEEP), "TIFF"), _grey(DEEP / 257)),
    "palette": (encoded(PALETTE), AS_RGB),
    "palette, one colour clear": (
        encoded(CLEAR, transparency=3),
        np.where((np.asarray(CLEAR) == 3)[..., None], 255, AS_RGB),
    ),
    "palette, each colour half clear": (
        encoded(CLEAR, transparency=CLEAR_ALPHA),
        over_white(np.dstack([AS_RGB, np.frombuffer(CLEAR_ALPHA, np.uint8)[np.asarray(CLEAR)]])),
    ),
    "a clear colour": (
        encoded(Image.fromarray(NOISE), transparency=tuple(map(int, NOISE[3, 4]))),
        np.where((NOISE[3, 4] == NOISE).all(-1, keepdims=True), 255, NOISE),
    ),
    "gif": (encoded(PALETTE, "GIF"), AS_RGB),
    "animated gif": (
        encoded(PALETTE, "GIF", save_all=True, append_images=FRAMES[1:]),
        AS_RGB,
    ),
    "animated webp": (
        encoded(
            Image.fromarray(NOISE), "WEBP", save_all=True, lossless=True,
            append_images=[Image.fromarray(noise(seed=5))],
        ),
        NOISE,
    ),
    "pages of a tiff": (
        encoded(
            Image.fromarray(NOISE), "TIFF", save_all=True,
            append_images=[Image.fromarray(noise(seed=5))],
        ),
        NOISE,
    ),
    "cmyk jpeg": (
        encoded(Image.new("CMYK", (24, 20), (0, 255, 255, 0)), "JPEG"),
        np.broadcast_to([255, 0, 0], (20, 24, 3)),
    ),
    "progressive jpeg": (
        encoded(COLOURS, "JPEG", quality=95, subsampling=0, progressive=True), COLOURS,
    ),
    "colour profile": (
        encoded(
            Image.fromarray(NOISE),
            icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        ),
        NOISE,
    ),
    "2 MB of packed text": (with_texts(zTXt=LONG), NOISE),
    "128 MB of packed text": (
        lambda: with_texts(zTXt=b"a\0\0" + zlib.compress(bytes(2**27))), NOISE,
    ),
    "2 MB of packed text, another script": (with_texts(iTXt=b"workflow\0\1\0\0\0" + ZEROS), NOISE),
    "70 MB of text": (lambda: with_texts(tEXt=b"workflow\0" + b"x" * (70 * 2**20)), NOISE),
    "text of all kinds": (with_texts(zTXt=LONG, tEXt=b"a\0b", iCCP=LONG), NOISE),
    "2 MB of colour profile": (with_texts(iCCP=LONG), NOISE),
    "damaged text": (with_texts(zTXt=b"a\0\0junk", iTXt=b"junk", tEXt=b""), NOISE),
    "2 MB of notes by a camera": (with_texts(iTXt=b"XML:com.adobe.xmp\0\1\0\0\0" + ZEROS), NOISE),
    "damaged colour profile": (encoded(Image.fromarray(NOISE), icc_profile=b"junk"), NOISE),
    "damaged exif": (encoded(Image.fromarray(NOISE), exif=b"Exif\0\0junk" * 3), NOISE),
    "1x1": (encoded(NOISE[:1, :1]), NOISE[:1, :1]),
    "1 pixel high": (encoded(NOISE[:1]), NOISE[:1]),
    "1 pixel wide": (encoded(NOISE[:, :1]), NOISE[:, :1]),
}  # fmt: skip


@pytest.mark.parametrize("case", GOOD)
def test_an_odd_file_is_read_right(tmp_path, case):
    data, expected = GOOD[case]
    data = data() if callable(data) else data
    name = "X.PNG" if case == "upper-case ending" else "x.png"
    seen = pixels(data, tmp_path, name=name).astype(float)
    assert seen.shape == np.shape(expected)
    near = 12 if "jpeg" in case else 1  # jpeg is not exact
    assert np.abs(seen - expected).max() <= near
    assert read_image(tmp_path / name, 16, 3, "crop").shape == (3, 16, 16)


@pytest.mark.parametrize("case", [case for case in GOOD if not callable(GOOD[case][0])])
def test_grey_is_what_is_drawn_made_grey(tmp_path, case):
    colour = pixels(GOOD[case][0], tmp_path).astype(float)
    grey = pixels(GOOD[case][0], tmp_path, channels=1).astype(float)
    assert np.abs(grey - colour @ [0.299, 0.587, 0.114]).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_every_way_a_camera_can_be_held_comes_out_upright(tmp_path, orientation, kind):
    """By EXIF's own table: which side of the picture row 0 and column 0 of the file are."""
    top, left, bottom, right = (lambda a: a), (lambda a: a), np.flipud, np.fliplr
    rows_first = {1: (top, left), 2: (top, right), 3: (bottom, right), 4: (bottom, left)}
    columns_first = {5: (left, top), 6: (right, top), 7: (right, bottom), 8: (left, bottom)}
    # row 0 of the file is the named side of the picture: undo it, last change first
    if orientation in rows_first:
        row, column = rows_first[orientation]
        stored = row(column(COLOURS))
    else:
        row, column = columns_first[orientation]
        stored = row(column(COLOURS)).swapaxes(0, 1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    data = encoded(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, **options)
    seen = pixels(data, tmp_path).astype(float)
    assert seen.shape == COLOURS.shape
    assert np.abs(seen - COLOURS).max() <= (12 if kind == "JPEG" else 0)


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt"])
def test_the_way_up_is_found_in_the_text_of_a_png(tmp_path, kind):
    """As ImageMagick and Adobe's programs write it, beside text that is too long to be read."""
    exif = Image.Exif()
    exif[0x0112] = 3
    raw = exif.tobytes()
    profile = b"\nexif\n%8d\n%s\n" % (len(raw), raw.hex().encode())
    xmp = b'\0\0\0\0\0<x tiff:Orientation="3"/>'
    text = {
        b"tEXt": b"Raw profile type exif\0" + profile,
        b"zTXt": b"Raw profile type exif\0\0" + zlib.compress(profile),
        b"iTXt": b"XML:com.adobe.xmp" + xmp,
    }[kind]
    data = PNG[:33] + chunk(kind, text) + chunk(b"zTXt", LONG) + PNG[33:]
    assert (pixels(data, tmp_path) == NOISE[::-1, ::-1]).all()


@pytest.mark.parametrize("name", [b"IHDR", b"IDAT", b"tEXt", b"iCCP"])
def test_every_checksum_of_a_png_counts(tmp_path, name):
    data = with_texts(tEXt=b"a\0b", iCCP=LONG)
    place = data.index(name) + 6
    with pytest.raises(BadImageError):
        pixels(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :], tmp_path)


@given(st.binary(max_size=300), st.sampled_from([PNG, JPEG, WEBP, GIF, BMP, TIFF, DEFLATED]),
       st.floats(0, 1), st.integers(0, 2**31))  # fmt: skip
def test_whatever_a_file_holds_it_is_read_or_bad(tmp_path_factory, junk, data, place, seed):
    start = int(place * len(data))
    damaged = data[:start] + junk + data[start + seed % (len(junk) + 1) :]
    file = tmp_path_factory.getbasetemp() / "junk.png"
    file.write_bytes(damaged)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            assert read_image(file, 8, 3, "crop").shape == (3, 8, 8)
        except BadImageError as error:
            assert str(error)


@pytest.mark.parametrize("share", np.linspace(0, 0.98, 12))
@pytest.mark.parametrize("data", [PNG, JPEG, PROGRESSIVE, WEBP, LOSSY, GIF, BMP, TIFF, DEFLATED])
def test_no_truncated_file_is_taken_for_a_whole_one(tmp_path, data, share):
    file = tmp_path / "x.png"
    file.write_bytes(cut(data, share))
    with pytest.raises(BadImageError):
        read_image(file, 8, 3, "crop")


def test_a_header_tells_size_and_grey(tmp_path):
    for mode, grey in (("L", True), ("LA", True), ("1", True), ("I;16", True), ("RGB", False),
                       ("RGBA", False), ("P", False)):  # fmt: skip
        (tmp_path / "x.png").write_bytes(encoded(Image.new(mode, (31, 17))))
        assert read_header(tmp_path / "x.png") == ((31, 17), grey)
