"""Images on the square that a network sees: cropped or padded, enlarged or averaged."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from patch_forcing.data.images import fitted
from tests.support.image_files import noise


def square(array, size, fit="crop"):
    return np.asarray(fitted(Image.fromarray(array), size, fit)).astype(float)


@given(st.integers(1, 90), st.integers(1, 90), st.integers(2, 40), st.integers(0, 255))
def test_an_even_image_stays_even(height, width, size, value):
    even = np.full((height, width), value, np.uint8)
    assert (square(even, size) == value).all()
    padded = square(even, size, "pad")
    assert set(np.unique(padded)) <= {value, 255}
    share = max(1, round(min(height, width) * size / max(height, width))) / size
    # halving rounds down, so that the aspect is kept up to a pixel in the last half
    assert abs((padded == value).mean() - share) <= (2 / size if value < 255 else 1)


@given(st.integers(1, 3), st.integers(2, 12), st.integers(0, 9), st.integers(0, 9))
def test_halving_is_averaging_over_blocks(times, size, extra, seed):
    """A square 2^k times too large: Pillow's reduce, which is another way to average."""
    side, extra = size * 2**times, min(extra, size)  # of longer ones the ends are cut off
    array = noise(side, side + 2 * extra * 2**times, channels=1, seed=seed)
    image = Image.fromarray(array)
    for _ in range(times):
        image = image.reduce(2)
    expected = np.asarray(image)[:, extra : extra + size].astype(float)
    assert np.abs(square(array, size) - expected).max() <= times  # each rounds once


@given(st.integers(8, 60), st.integers(8, 60), st.integers(8, 24))
def test_the_middle_of_a_slope_is_kept_and_the_aspect_too(height, width, size):
    """A slope to the right stays a slope; its middle is the image's; its rise is the scale's."""
    slope = np.repeat(np.linspace(40, 215, width)[None], height, 0).round().astype(np.uint8)
    seen = square(slope, size)
    assert np.abs(seen - seen[:1]).max() <= 1
    step = 175 / max(width - 1, 1) * min(height, width) / size
    assert abs(seen.mean() - 127.5) <= 2 + 1.5 * step
    inner = seen[0, 2:-2]
    assert abs((inner[-1] - inner[0]) - step * (len(inner) - 1)) <= 2 + step


def test_of_a_long_strip_only_the_middle_is_looked_at(monkeypatch):
    strip = np.zeros((1, 60_000, 3), np.uint8)
    strip[:, 29_000:31_000] = 200
    sizes = []
    resize = Image.Image.resize

    def watched(image, size, *rest, **more):
        sizes.append(size)
        return resize(image, size, *rest, **more)

    monkeypatch.setattr(Image.Image, "resize", watched)
    assert (square(strip, 64) == 200).all()
    assert max(width * height for width, height in sizes) <= 4 * 64 * 64


def test_padding_is_white_and_centred():
    padded = square(np.zeros((10, 20), np.uint8), 20, "pad")
    assert (padded[:5] == 255).all()
    assert (padded[15:] == 255).all()
    assert (padded[5:15] == 0).all()
