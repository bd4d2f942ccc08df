"""The bundled model of texts draws what a prompt says."""

import numpy as np
import pytest

import patch_forcing as pf
from patch_forcing.data.emoji_text import COLOURS
from patch_forcing.views.images import text_font, wrapped

PROMPTS = {
    "a red apple on a blue background": "blue",
    "two butterflies on a yellow background": "yellow",
}
LEFT = "a strawberry left of a frog on a white background"


@pytest.fixture(scope="module")
def pipe():
    return pf.load("emoji-text")


def test_backgrounds_have_the_colour_of_the_prompt(pipe):
    result = pipe(prompt=list(PROMPTS), seeds=[0, 1], nfe=10)
    for image, name in zip(result.images, PROMPTS.values(), strict=True):
        pixels = np.asarray(image) / 255
        edge = np.concatenate([pixels[:3].reshape(-1, 3), pixels[-3:].reshape(-1, 3)])
        apart = {c: np.abs(np.median(edge, 0) - v).sum() for c, v in COLOURS.items()}
        assert min(apart, key=apart.get) == name


def test_things_lie_where_the_prompt_says(pipe):
    (image,) = pipe(prompt=LEFT, seeds=[0], nfe=16).images
    red, green, blue = np.moveaxis(np.asarray(image).astype(int), 2, 0)
    # most of the red is the strawberry's, most of the green the frog's
    strawberry, frog = (np.median(np.nonzero(more > 80)[1]) for more in (red - green, green - blue))
    assert strawberry < frog - 32


def test_captions_of_its_prompts_are_whole(pipe):
    shown = pipe.choose({}, {}).conditions.for_seeds(range(13))
    texts = pipe.model.sampling_info.recommended.conditions.split("\n")
    assert shown.captions(range(13)) == texts
    assert max(wrapped(text, text_font(), 128).count("\n") for text in texts) == 2
