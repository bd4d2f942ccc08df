"""Numbers and ranges as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import patch_forcing as pf
from patch_forcing.generation.numbers import abridged, parse_numbers, write_numbers


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


@given(st.lists(st.integers(0, 30), min_size=1))
def test_numbers_are_written_as_they_are_read(numbers):
    assert parse_numbers("--seeds", write_numbers(numbers)) == numbers


def test_runs_are_written_as_ranges():
    assert write_numbers([*range(3, 12), 40, 20, 21]) == "3-11,40,20-21"


@given(st.text("0,", max_size=2000), st.text("0,", max_size=2000))
def test_long_texts_are_abridged_and_stay_distinct(one, other):
    assert (abridged(one) == abridged(other)) == (one == other)
    assert len(abridged(one)) <= 1000
