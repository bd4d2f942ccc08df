"""The small font and its list, the atlas made of them; and a few shards."""

import shutil
from pathlib import Path

import pytest

from tests.support.emoji_font import font_and_list, write_atlas
from tests.support.image_files import samples, shard


@pytest.fixture(scope="session")
def datasets(tmp_path_factory):
    """The package, a slow import, without its bars and with a cache that is not the user's."""
    import datasets

    datasets.disable_progress_bars()
    datasets.config.HF_DATASETS_CACHE = tmp_path_factory.mktemp("datasets")
    return datasets


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


@pytest.fixture
def three(tmp_path):
    """Shards of 5, 7 and 2 images of three classes."""
    for number, (first, count) in enumerate(((0, 5), (5, 7), (12, 2))):
        shard(tmp_path / "three" / f"x-{number:02d}.tar", samples(count, 3, first))
    return tmp_path / "three"
