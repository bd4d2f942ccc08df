"""Files whose end is zeros, or missing, are bad; what follows the end, or fills it up, is not."""

import io

import numpy as np
import pytest
from PIL import Image

from patch_forcing.data.images import BadImageError, read_header, read_image
from tests.support.image_files import JPEG, LOSSY, NOISE, PROGRESSIVE, WEBP, encoded, noise

END = b"\xff\xd9"
PHOTO = noise(64, 64)
BASE = encoded(PHOTO, "JPEG", quality=90)


def segment(kind: int, data: bytes) -> bytes:
    return bytes([0xFF, kind]) + (len(data) + 2).to_bytes(2) + data


def pictures() -> bytes:
    """A JPEG of two pictures, as phones write them."""
    stream = io.BytesIO()
    second = Image.fromarray(noise(seed=1))
    Image.fromarray(PHOTO).save(stream, "MPO", save_all=True, append_images=[second], quality=90)
    return stream.getvalue()


def with_preview(data: bytes) -> bytes:
    return data[:2] + segment(0xE1, b"Exif\0\0" + JPEG) + segment(0xE2, JPEG * 3) + data[2:]


def optimized() -> bytes:
    """One colour, whose scan is zeros."""
    return encoded(np.full((256, 256, 3), 128, np.uint8), "JPEG", optimize=True)


JPEGS = {
    "baseline": BASE,
    "progressive": encoded(PHOTO, "JPEG", progressive=True),
    "restart markers": encoded(PHOTO, "JPEG", restart_marker_blocks=1),
    "two pictures": pictures(),
    "a preview with an end of its own": with_preview(BASE),
    "a progressive one with a preview": with_preview(encoded(PHOTO, "JPEG", progressive=True)),
    "grey": encoded(noise(64, 64, channels=1), "JPEG"),
}
SOUND = JPEGS | {
    "one colour": optimized(),
    "zeros behind the end": BASE + bytes(5000),
    "anything behind the end": BASE + b"\xff\xda\xff\xd8 video" * 99,
    "fill bytes before the end": BASE[:-2] + b"\xff" * 9 + END,
    "zeros between scan and end": BASE[:-2] + bytes(40) + END,
    "a comment behind the scan": BASE[:-2] + segment(0xFE, END) + END,
    "webp": WEBP,
    "webp with orientation": encoded(NOISE, "WEBP", exif=Image.Exif()),
    "webp, zeros behind the end": LOSSY + bytes(999),
    "webp, odd lengths": encoded(noise(7, 5), "WEBP", icc_profile=b"x" * 101, xmp=b"y" * 33),
}


def read(tmp_path, data):
    (tmp_path / "x.jpg").write_bytes(data)
    return read_image(tmp_path / "x.jpg", 64, 3, "crop")


@pytest.mark.parametrize("case", SOUND)
def test_a_whole_file_is_sound(tmp_path, case):
    stored = Image.open(io.BytesIO(SOUND[case])).convert("RGB").resize((64, 64))
    seen = read(tmp_path, SOUND[case])
    if stored.size == Image.open(io.BytesIO(SOUND[case])).size:
        assert (seen == np.asarray(stored).transpose(2, 0, 1)).all()


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("case", JPEGS)
def test_a_jpeg_whose_tail_is_zeros_is_bad(tmp_path, case, share):
    data, first = JPEGS[case], len(with_preview(b"")) if "preview" in case else 0
    end = len(pictures()) - len(encoded(noise(seed=1), "JPEG")) if case == "two pictures" else None
    size = (end or len(data)) - first
    cut = first + max(int(share * size), 700)
    with pytest.raises(BadImageError, match="truncated: no end-of-image marker behind its data"):
        read(tmp_path, data[:cut] + bytes(len(data) - cut))


def test_the_end_of_another_picture_is_not_its_own(tmp_path):
    cut = len(BASE) // 2
    for other in (BASE, with_preview(BASE)):
        with pytest.raises(BadImageError, match="truncated: no end-of-image"):
            read(tmp_path, BASE[:cut] + bytes(len(BASE) - cut) + other)


@pytest.mark.parametrize("data", [BASE[:-2], BASE[:-1], BASE[:-2] + bytes(9), PROGRESSIVE[:-2]])
def test_a_jpeg_without_its_end_is_bad(tmp_path, data):
    with pytest.raises(BadImageError, match="truncated"):
        read(tmp_path, data)


def test_a_webp_that_is_shorter_than_it_says_is_bad(tmp_path):
    for data in (LOSSY, WEBP):
        with pytest.raises(BadImageError):
            read(tmp_path, data[:-1])


def test_a_webp_whose_orientation_is_lost_in_zeros_is_bad(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(NOISE, "WEBP", exif=exif)
    place = data.index(b"EXIF")
    with pytest.raises(BadImageError, match="decoder"):
        read(tmp_path, data[:place] + bytes(len(data) - place))


def test_a_header_is_read_without_the_rest(tmp_path):
    (tmp_path / "x.jpg").write_bytes(BASE[:700])
    assert read_header(tmp_path / "x.jpg") == ((64, 64), False)
