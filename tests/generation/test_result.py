"""A result draws itself, in Python and in notebooks."""

import io

import numpy as np
import pytest
from PIL import Image

import patch_forcing as pf
from patch_forcing.generation.pipeline import Pipeline
from tests.support.exact import tiny_dit


@pytest.fixture
def pipe(tmp_path):
    tiny_dit().save(tmp_path / "model")
    return Pipeline("tiny", tmp_path / "model", tiny_dit())


def test_pictures_of_a_run_take_its_trace(pipe, tmp_path):
    result = pipe([1, 2], sampler="euler", num_steps=2)
    with pytest.raises(pf.UserError, match=r"no trace was kept.*: sample with trace=True"):
        result.maps()
    with pytest.raises(pf.UserError, match=r"no trace was kept.*: sample with trace=True"):
        result.film(tmp_path / "a.gif")
    with pytest.raises(pf.UserError, match=r"film .*a.png: name a file that ends in .gif"):
        result.film(tmp_path / "a.png")
    assert {path.name for path in tmp_path.iterdir()} == {"model"}


def test_a_notebook_shows_the_sheet(pipe):
    result = pipe([1, 2], sampler="euler", num_steps=2)
    with Image.open(io.BytesIO(result._repr_png_())) as shown:
        assert np.array_equal(np.array(shown), np.array(result.sheet()))


def test_a_film_shows_the_first_images_of_any_sampler(pipe, tmp_path):
    for sampler in ("euler", "dual-loop:inner_steps=2"):
        result = pipe([1], seeds=range(6), sampler=sampler, num_steps=3, trace=True)
        path = result.film(str(tmp_path / "a.gif"))
        with Image.open(path) as film:
            assert film.n_frames == (5 if "dual" in sampler else 4)
        assert result.maps().height > 3 * 96


@pytest.mark.parametrize("name", ["digits", "emoji-64"])
def test_the_images_of_demo_are_those_of_sample_without_options(name):
    pipe = pf.load(name)
    sampled = pipe.choose({}, {}).conditions
    for seeds in (range(len(sampled)), range(8)):
        assert sampled.for_seeds(seeds).labels == sampled.labels[: len(seeds)]
