"""Image files, sound, odd and damaged, made here from a seed."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from patch_forcing.data import images


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


def photos(root: Path, classes: dict[str, int], size: tuple[int, int] = (20, 24)) -> Path:
    """A folder of noisy PNGs; class "" puts them into the folder itself."""
    number = 0
    for name, count in classes.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            (root / name / f"{i:03d}.png").write_bytes(encoded(noise(*size, seed=number)))
            number += 1
    return root


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
        if file.suffix not in images.ENDINGS or failed.count(file) >= times:
            return open_file(file, *how, **more)
        failed.append(file)
        if after is None:
            raise OSError(number, os.strerror(number), str(file))
        return io.BufferedReader(Failing(file), 64)

    monkeypatch.setattr(Path, "open", opened)
    monkeypatch.setattr(images, "WAITS", (0.001,) * len(images.WAITS))
    return failed
