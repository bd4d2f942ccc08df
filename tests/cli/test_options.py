"""Numbers and ranges on the command line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import patch_forcing as pf
from patch_forcing.cli.options import parse_numbers


@given(st.lists(st.integers(0, 10_000), min_size=1))
def test_written_numbers_come_back(numbers):
    assert parse_numbers("--seeds", ",".join(map(str, numbers))) == numbers


@given(st.integers(0, 1000), st.integers(0, 50))
def test_ranges_include_both_ends(first, length):
    text = f"{first}-{first + length}"
    assert parse_numbers("--seeds", text) == list(range(first, first + length + 1))


@pytest.mark.parametrize("text", ["", "a", "1;2", "-3", "1-2-3", "0-99999999999", "5-4"])
def test_anything_else_names_the_option(text):
    with pytest.raises(pf.UserError, match="--seeds"):
        parse_numbers("--seeds", text)
