"""A mistake on the command line, as the user meets it."""

import sys

import pytest

from patch_forcing.cli.main import main


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
