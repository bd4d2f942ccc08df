"""A tiny model as this library and as diffusers save it. diffusers takes seconds to import."""

import pytest

import patch_forcing as pf
from tests.support.exact import tiny_dit

NAMES = ("cat", "dog", "owl", "bee", "cow")


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A model of five classes, as this library saves it."""
    model = tiny_dit(predict_difficulty=True)
    model.data_info = pf.DataInfo(class_names=NAMES)
    path = tmp_path_factory.mktemp("models") / "tiny"
    model.save(path)
    return path


@pytest.fixture(scope="session")
def saved(folder, tmp_path_factory):
    """The same, as diffusers saves it."""
    from patch_forcing.diffusers import PatchForcingPipeline as Pipe

    path = tmp_path_factory.mktemp("pipelines") / "tiny"
    Pipe.from_patch_forcing(folder).save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def pipe(saved):
    from patch_forcing.diffusers import PatchForcingPipeline as Pipe

    pipe = Pipe.from_pretrained(saved)
    pipe.set_progress_bar_config(disable=True)
    return pipe
