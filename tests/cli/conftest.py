"""A folder to type commands in, and mistakes on the command line, as the user meets them."""

import functools
import sys
from collections.abc import Iterator

import pytest
from tyro import _docstrings

from patch_forcing.cli.main import main


@pytest.fixture(autouse=True, scope="session")
def _comments_are_read_once() -> Iterator[None]:
    """For its help tyro reads the source of each option's class, and forgets it after a command."""
    real = _docstrings.get_field_docstring
    _docstrings.get_field_docstring = functools.cache(real)
    yield
    _docstrings.get_field_docstring = real


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def mistake(capsys, monkeypatch):
    """Run a line that must end in one line on stderr with exit status 2; returns that line."""

    def make(line: str) -> str:
        monkeypatch.setattr(sys, "argv", ["patch-forcing", *line.split(" ")])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        assert end.value.code == 2
        assert printed.out == ""
        assert len(printed.err.splitlines()) == 1
        assert printed.err.startswith("patch-forcing: ")
        return printed.err

    return make


@pytest.fixture
def refused(here, mistake):
    """Checks that a line is a mistake whose message holds this, and that nothing is written."""

    def check(line: str, message: str) -> None:
        before = {file: file.stat().st_mtime_ns for file in here.rglob("*")}
        assert message in mistake(line)
        assert {file: file.stat().st_mtime_ns for file in here.rglob("*")} == before

    return check
