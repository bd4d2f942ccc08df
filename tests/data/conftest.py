"""The small font and its list, and the atlas made of them."""

import shutil
from pathlib import Path

import pytest

from tests.support.emoji_font import font_and_list, write_atlas


@pytest.fixture
def files(tmp_path):
    """The font and the list."""
    (tmp_path / "files").mkdir()
    return font_and_list(tmp_path / "files")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return write_atlas(tmp_path_factory.mktemp("built") / "emoji")


@pytest.fixture
def folder(built, tmp_path):
    """A copy to break."""
    return Path(shutil.copytree(built, tmp_path / "emoji"))
