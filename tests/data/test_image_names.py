"""Names that people and tools write for an image, and the image they mean."""

import unicodedata

import pytest

from patch_forcing.data.image_names import ImageNames

APART = unicodedata.normalize("NFD", "sub/B\u00e4r.png")


@pytest.mark.parametrize(
    ("written", "image"),
    [
        ("a.png", "a.png"),
        ("sub\\b.png", "sub/b.png"),
        (".\\sub\\b.png", "sub/b.png"),
        ("./sub/./b.png", "sub/b.png"),
        ("sub\\.\\B.PNG", "sub/b.png"),
        ("sub.\\b.png", None),
        ("sub/B\u00e4r.png", APART),
        ("sub\\B\u00e4r", APART),
        ("b.png", None),
        ("c.png", None),
    ],
)
def test_a_name_means_one_image_or_none(written, image):
    assert ImageNames(["a.png", "sub/b.png", APART]).find(written) == image
