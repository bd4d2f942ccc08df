"""The one sentence about a number that is out of range."""

import math

import pytest

from patch_forcing.core.errors import UserError, check_range, nearest_names, unknown_name


@pytest.mark.parametrize(
    ("options", "inside", "outside", "sentence"),
    [
        ({"low": 1}, [1, 2.5], [0, math.nan, math.inf], "choose 1 or more"),
        ({"low": 0, "high": 1}, [0, 1, 0.5], [-1e-9, 1.1], "choose 0 to 1"),
        ({"above": 0}, [1e-9], [0, -1], "choose above 0"),
        ({"low": 0, "below": 1}, [0, 0.999], [1, -1], "choose 0 or more, below 1"),
        ({"high": 3}, [-5, 3], [4], "choose up to 3"),
        ({}, [-5, 0.5], [math.nan, math.inf], "choose a finite number"),
        ({"low": 1, "whole": True}, [1, 7], [0, 1.0, True], "choose a whole number, 1 or more"),
        ({"low": 0, "mend": "; 0 is none"}, [0], [-1], "choose 0 or more; 0 is none"),
    ],
)
def test_a_number_is_within_its_range_or_named_with_it(options, inside, outside, sentence):
    for value in inside:
        check_range("steps", value, **options)
    for value in outside:
        with pytest.raises(UserError) as caught:
            check_range("steps", value, **options)
        assert str(caught.value) == f"steps={value} is out of range: {sentence}"


@pytest.mark.parametrize(
    ("name", "written"),
    [("scale", "scale=-1"), ("Clock: scale", "Clock: scale=-1"), ("the scale", "the scale -1")],
)
def test_names_are_followed_by_a_sign_and_words_are_not(name, written):
    with pytest.raises(UserError, match=f"^{written} is out of range: choose 0 or more$"):
        check_range(name, -1, 0)


def test_an_option_of_the_command_line_is_named_as_it_is_written():
    with pytest.raises(UserError, match=r"^--images 1 is out of range: choose 2 to 9$"):
        check_range("--images", 1, 2, 9)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("cta", ["cat-face"]),
        ("CAT", ["cat-face"]),
        ("fcae", ["cat-face", "face-hat"]),
        ("face cat", ["cat-face"]),
        ("drnk", ["drink"]),
        ("(c", ["cat-face"]),
        ("xyzzy", []),
        ("--", []),
    ],
)
def test_a_name_that_may_be_meant_is_looked_for_by_its_letters(written, meant):
    assert nearest_names(written, ["cat-face", "face-hat", "drink"]) == meant


def test_many_names_are_left_to_the_command_that_lists_them():
    names = [f"class {number:02}" for number in range(21)]
    mend = str(unknown_name("class", "xyzzy", names, listing="info mine"))
    assert mend.endswith(
        "21 are known, the nearest class 20, class 19, class 18; info mine lists them"
    )
    assert "did you mean" not in mend
    few = str(unknown_name("class", "xyzzy", names[:2], listing="info mine"))
    assert few == "unknown class 'xyzzy': known: class 00, class 01; info mine lists them"
