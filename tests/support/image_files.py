"""Image files, sound, odd and damaged, made here from a seed."""

import io
import os
import re
import struct
import tarfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from patch_forcing.data import images
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.image_data import ImageData
from patch_forcing.data.image_kinds import ENDINGS


def noise(height: int = 20, width: int = 24, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Random pixels, (H, W, C), or (H, W) for one channel."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    return pixels[..., 0] if channels == 1 else pixels


def smooth(height: int = 20, width: int = 24) -> np.ndarray:
    """Colours that compress well: red to the right, green downwards, blue even."""
    rows, columns = np.mgrid[0:height, 0:width]
    red, green = 255 * columns / max(width - 1, 1), 255 * rows / max(height - 1, 1)
    return np.stack([red, green, np.full_like(red, 60.0)], -1).round().astype(np.uint8)


def encoded(image: Image.Image | np.ndarray, kind: str = "PNG", **options) -> bytes:
    """An image file's bytes."""
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def chunk(kind: bytes, data: bytes, crc: int | None = None) -> bytes:
    """A PNG chunk; its right checksum unless another is given."""
    crc = zlib.crc32(kind + data) if crc is None else crc
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def png(width: int, height: int, data: bytes, colour: int = 0, depth: int = 8) -> bytes:
    """A PNG of these sizes, whatever its pixel data say."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def jpeg_of_size(width: int, height: int) -> bytes:
    """A small JPEG whose header claims another size."""
    data = bytearray(encoded(smooth(), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


COLOURS, NOISE = smooth(), noise()
PNG, JPEG = encoded(NOISE), encoded(NOISE, "JPEG", quality=90)
PROGRESSIVE = encoded(NOISE, "JPEG", progressive=True)
WEBP, LOSSY = encoded(NOISE, "WEBP", lossless=True), encoded(NOISE, "WEBP")
GIF, BMP, TIFF = encoded(NOISE, "GIF"), encoded(NOISE, "BMP"), encoded(NOISE, "TIFF")
DEFLATED = encoded(NOISE, "TIFF", compression="tiff_adobe_deflate")


def cut(data: bytes, share: float) -> bytes:
    """The first part of a file."""
    return data[: int(len(data) * share)]


def flipped(data: bytes, place: int) -> bytes:
    """A file with one bit turned."""
    damaged = bytearray(data)
    damaged[place] ^= 0x10
    return bytes(damaged)


BAD = {
    "empty.png": (b"", "empty file"),
    "text.png": (b"not an image, whatever its name says\n" * 9, "no image of a known kind"),
    "page.jpg": (b"<!DOCTYPE html><html>404</html>", "no image of a known kind"),
    "zeros.png": (bytes(4096), "no image of a known kind"),
    "program.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image of a known"),
    "drawing.png": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no image of a known kind"),
    "signature.png": (PNG[:8], "no image of a known kind|SyntaxError|broken|truncated"),
    "header.png": (PNG[:40], "no image of a known kind, or its header is damaged"),
    "early.png": (cut(PNG, 0.3), "broken|runcated"),
    "late.png": (cut(PNG, 0.9), "broken|runcated"),
    "no-end.png": (PNG[:-12], "broken|runcated|SyntaxError"),
    "pixel-sum.png": (flipped(PNG, len(PNG) // 2), "broken PNG file .*checksum"),
    "header-sum.png": (flipped(PNG, 30), "no image of a known kind|checksum"),
    "stored-sum.png": (
        PNG[:33] + chunk(b"tEXt", b"a\0b", crc=1) + PNG[33:],
        "its header is damaged",
    ),
    "no-pixels.png": (png(9, 9, b""), "runcated|decoder|broken|empty"),
    "no-width.png": (png(0, 9, bytes(90)), "."),
    "bomb.png": (png(60_000, 60_000, bytes(99)), "more than 89478485 pixels"),
    "large.png": (png(10_000, 10_000, bytes(99)), "more than 89478485 pixels"),
    "bomb.jpg": (jpeg_of_size(65_500, 65_500), "more than 89478485 pixels"),
    "large.jpg": (jpeg_of_size(12_000, 9_000), "more than 89478485 pixels"),
    "early.jpg": (cut(JPEG, 0.3), "runcated|no image of a known kind"),
    "middle.jpg": (cut(JPEG, 0.6), "runcated"),
    "late.jpg": (cut(JPEG, 0.95), "runcated"),
    "progressive.jpg": (cut(PROGRESSIVE, 0.7), "runcated"),
    "start.jpg": (JPEG[:2], "no image of a known kind|runcated|SyntaxError"),
    "early.webp": (cut(WEBP, 0.3), "."),
    "late.webp": (cut(WEBP, 0.9), "."),
    "lossy.webp": (cut(LOSSY, 0.5), "."),
    "early.gif": (cut(GIF, 0.02), "."),
    "late.gif": (cut(GIF, 0.9), "."),
    "late.bmp": (cut(BMP, 0.9), "runcated"),
    "late.tif": (cut(TIFF, 0.5), "."),
    "late.tiff": (cut(DEFLATED, 0.7), "."),
    "floats.tif": (encoded(Image.new("F", (9, 9), 0.5), "TIFF"), "floating-point pixels"),
    "wide.tif": (encoded(Image.new("I", (9, 9), 2**20), "TIFF"), "more than 16 bits"),
}
"""Damaged files, and why each is said to be bad."""


def photos(root: Path, classes: dict[str, int], size: tuple[int, int] = (20, 24)) -> Path:
    """A folder of noisy PNGs; class "" puts them into the folder itself."""
    number = 0
    for name, count in classes.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            (root / name / f"{i:03d}.png").write_bytes(encoded(noise(*size, seed=number)))
            number += 1
    return root


def with_every_bad_file(good: int = 40) -> dict[str, bytes]:
    """Files by name: every kind of bad one, and good ones."""
    sound = {f"good-{i:02d}.png": encoded(noise(seed=i)) for i in range(good)}
    return {name: data for name, (data, _) in BAD.items()} | sound


def assert_every_bad_file_is_named(
    data: ImageData, name_of: Callable[[str], str] = lambda place: Path(place).name
) -> None:
    """Trained on for an epoch: each with its reason, once; all that is shown is good."""
    steps = 3
    named = []
    for step in range(steps):
        batch = data.batch(BatchSpec(step, -(-data.num_samples // steps), 0))
        assert batch.x_1.isfinite().all()
        named += data.bad_samples()
    reasons = {name_of(bad.path): bad.reason for bad in named}
    assert len(named) == len(reasons) == len(BAD) >= 25
    for name, (_, reason) in BAD.items():
        assert re.search(reason, reasons[name]), name


def shard(
    file: Path,
    members: Mapping[str, bytes] | Sequence[tuple[str, bytes]],
    form: int = tarfile.USTAR_FORMAT,
    mtime: float = 0,
) -> Path:
    """A tar file of these members, in this order."""
    rows = members.items() if isinstance(members, Mapping) else members
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w", format=form) as tar:
        for name, data in rows:
            header = tarfile.TarInfo(name)
            header.size, header.mtime = len(data), mtime
            tar.addfile(header, io.BytesIO(data))
    return file


def samples(count: int, classes: int = 0, first: int = 0) -> dict[str, bytes]:
    """Members of a shard: noise, and its class."""
    members = {}
    for i in range(first, first + count):
        members[f"{i:04d}.png"] = encoded(noise(seed=i))
        if classes:
            members[f"{i:04d}.cls"] = b"%d" % (i % classes)
    return members


def fail(
    monkeypatch: pytest.MonkeyPatch, number: int, times: int, after: int | None = None
) -> list[Path]:
    """From now on each file fails `times` times, as on a bad disk or server, without a long wait.

    number: the system's error. after: bytes read before; None: it cannot be opened. Gives the list
    of failures so far.
    """
    open_file, failed = Path.open, []

    class Failing(io.FileIO):
        def readinto(self, buffer):
            if self.tell() >= after:
                raise OSError(number, os.strerror(number))
            return super().readinto(buffer)

        def readall(self):
            raise OSError(number, os.strerror(number))

    def opened(file: Path, *how, **more):
        if file.suffix not in ENDINGS or failed.count(file) >= times:
            return open_file(file, *how, **more)
        failed.append(file)
        if after is None:
            raise OSError(number, os.strerror(number), str(file))
        return io.BufferedReader(Failing(file), 64)

    monkeypatch.setattr(Path, "open", opened)
    monkeypatch.setattr(images, "WAITS", (0.001,) * len(images.WAITS))
    return failed
