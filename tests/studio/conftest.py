"""The bundled digits, and a form that samples them fast."""

import pytest

from patch_forcing.studio.desk import Desk, Studio
from patch_forcing.studio.form import Form

FAST = Form("digits", (3, 5), "", "euler", 4, 1.0, 0.0, 1.0, "condition", "0-1")


@pytest.fixture(scope="session")
def studio():
    return Studio(["digits"])


@pytest.fixture(scope="session")
def digits(studio):
    return studio.pipe("digits")


@pytest.fixture
def desk():
    return Desk()


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def form():
    return FAST


@pytest.fixture
def values(form):
    """What the fields of a page hold."""
    return [
        form.model,
        list(form.labels),
        form.prompts,
        form.sampler,
        form.nfe,
        form.guidance,
        form.low,
        form.high,
        form.kind,
        form.seeds,
    ]
