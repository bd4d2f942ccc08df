"""How a command line is read, and what its help shows."""

from dataclasses import dataclass

import pytest

import patch_forcing as pf
from patch_forcing.cli.options import parse, plain_help
from patch_forcing.core.extras import install_line


@dataclass(frozen=True)
class Options:
    """Of a command."""

    guidance_interval: tuple[float, float] | None = None
    """Two times."""
    steps: int = 3
    """How many."""


def read(*args):
    return parse(Options, args, prog="pf try", description="Tries.", example="pf try --steps 4")


@pytest.mark.parametrize(
    "args",
    [
        ["--guidance-interval", "0.1", "0.8"],
        ["--guidance-interval", "0.1,0.8"],
        ["--guidance-interval=0.1,0.8"],
    ],
)
def test_a_pair_may_have_a_comma(args):
    assert read(*args, "--steps", "5") == Options((0.1, 0.8), 5)


def test_a_pair_of_three_is_refused():
    with pytest.raises(pf.UserError, match="guidance-interval"):
        read("--guidance-interval", "0.1,0.8,0.9")


def test_help_has_an_example_and_names_no_none(capsys):
    with pytest.raises(SystemExit) as end:
        read("--help")
    page = capsys.readouterr().out
    assert end.value.code == 0
    assert "Such as: pf try --steps 4" in page
    assert "None" not in page
    assert "(default: 3)" in page


def test_help_stays_in_its_columns():
    page = "│ --a {None}|INT   one │\n│ --b {None,x,y}   two (default: │\n│        None)    │"
    shown = "│ --a INT          one │\n│ --b {x,y}        two           │\n│                 │"
    assert plain_help(page) == shown


def test_extras_are_installed_from_where_the_package_was():
    assert install_line("bench").endswith("[bench]'")
    assert install_line("bench").startswith("pip install ")
