"""What is said of images becomes labels or captions; what is not said makes a sample bad."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import patch_forcing as pf
from patch_forcing.data.annotations import Annotation, Conditions, checked, conditions, from_fields
from patch_forcing.data.captions import texts_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


@given(st.lists(st.integers(-5, 300) | st.text("ab1", min_size=1, max_size=2) | st.none()))
def test_each_label_has_the_number_of_its_name_and_what_has_none_is_bad(labels):
    output = [Annotation(label) for label in labels]
    if all(label is None for label in labels):
        assert conditions(output, None, "x") == Conditions()
        return
    result = conditions(output, "class", "x")
    assert len(set(result.class_names)) == len(result.class_names)
    for number, label in enumerate(labels):
        assert (number in result.faults) == (label is None)
        if label is not None:
            assert result.class_names[result.labels[number]] == str(label)
    values = [int(name) for name in result.class_names if name.strip("-").isdigit()]
    assert values == sorted(values)


@given(JSON, JSON)
def test_whatever_json_says_is_sound_or_missing_with_a_reason(label, caption):
    output = checked(label, caption)
    assert output.fault == ""
    if output.label is None:
        assert output.no_label
        assert "\n" not in output.no_label
    else:
        assert output.label == label or output.label == label.strip()
        assert str(output.label).encode()
    if output.caption is None:
        assert output.no_caption
        assert "\n" not in output.no_caption
    else:
        texts = {text.strip() for text in texts_of(output.caption)}
        given = [caption] if isinstance(caption, str) else caption
        given = [one[0] if isinstance(one, list) else one for one in given]
        assert "" not in texts <= {one.strip() for one in given if isinstance(one, str)}


@pytest.mark.parametrize(
    ("fields", "label", "caption"),
    [
        ({"label": 3}, 3, None),
        ({"class": "cat", "width": 9}, "cat", None),
        ({"cls": " cat "}, "cat", None),
        ({"text": " a cat\n"}, None, "a cat"),
        ({"caption": "a cat", "label": 0}, 0, "a cat"),
        ({"label": None, "text": None}, None, None),
        ({"label": None, "class": "cat", "text": None, "caption": "a cat"}, "cat", "a cat"),
        ({"label": " ", "class": None, "cls": 0, "text": "", "caption": "a cat"}, 0, "a cat"),
        ({"label": float("nan"), "class": 2, "text": float("nan"), "caption": "x"}, 2, "x"),
        ({"label": 3.0}, 3, None),
        ({"label": -1, "class": 2}, None, None),
        ({"label": "-1"}, None, None),
        ({"label": True, "text": 7}, None, None),
        ({"label": 1.5, "text": ["a", 7]}, None, None),
        ({"text": [], "caption": ["a", " "]}, None, "a"),
        ({"label": "\t", "text": "\n"}, None, None),
        ({"label": "\ud800", "text": "\udfff"}, None, None),
    ],
)
def test_usual_names_are_understood(fields, label, caption):
    output = from_fields(json.loads(json.dumps(fields)))
    assert output[:3] == (label, caption, "")


@pytest.mark.parametrize("label", [-1, "-1", " -1\n", -1.0, -7])
def test_a_number_below_zero_is_no_label(label):
    row = checked(label, "a cat")
    assert (row.label, row.caption) == (None, "a cat")
    assert re.fullmatch("label -[17] is no class", row.no_label)


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_null_is_missing_without_another_reason(missing):
    assert checked(missing, missing) == Annotation()


def test_reasons_tell_what_is_wrong():
    output = checked(1.5, {"a": "b" * 99})
    assert output.no_label == "label 1.5 is neither a whole number nor a text"
    assert output.no_caption.startswith('caption {"a": "bbb')
    assert output.no_caption.endswith("… is no text")
    assert checked("", " ")[3:] == ("empty label", "empty caption")
    assert checked("\ud800", "\udfff")[3:] == (
        "half a character in the label", "half a character in the caption",
    )  # fmt: skip


def said_of(labels, captions, neither):
    return [Annotation(1, "x")] * min(labels, captions) + [
        *[Annotation(1)] * (labels - min(labels, captions)),
        *[Annotation(None, "x")] * (captions - min(labels, captions)),
        *[Annotation()] * neither,
    ]


def test_labels_come_before_captions_and_half_of_them_are_enough():
    both = conditions(said_of(4, 4, 0), None, "x")
    assert (len(both.labels), both.condition) == (4, "class")
    captions = conditions(said_of(0, 3, 3), None, "x")
    assert captions.labels == ()
    assert captions.captions == ("x",) * 3 + ("",) * 3
    assert captions.faults == dict.fromkeys((3, 4, 5), "no caption")
    assert conditions(said_of(0, 3, 3), "none", "x") == Conditions()
    wanted = conditions(said_of(4, 4, 0), "caption", "x")
    assert (wanted.labels, len(wanted.captions)) == ((), 4)


def test_captions_of_half_of_the_images_are_kept_beside_labels_unless_one_kind_is_asked_for():
    both = conditions(said_of(4, 2, 0), None, "x")
    assert both.captions == ("x", "x", "", "")
    assert both.faults == {}
    assert conditions(said_of(4, 1, 0), None, "x").captions == ()
    assert conditions(said_of(4, 4, 0), "class", "x").captions == ()


@pytest.mark.parametrize(
    ("labels", "captions", "wanted", "message"),
    [
        (1, 0, None, "only 1 of 10 images of mine have a label: add the others, or say which"),
        (0, 4, None, "only 4 of 10 images of mine have a caption: add the others, or say which"),
        (0, 4, "class", r"data\.condition=class: no image of mine has a label: choose none"),
        (4, 0, "caption", r"data\.condition=caption: no image of mine has one: choose none"),
    ],
)
def test_what_is_not_there_or_too_rare_to_be_meant_is_an_error(labels, captions, wanted, message):
    output = said_of(labels, captions, 10 - labels - captions)
    with pytest.raises(pf.UserError, match=message):
        conditions(output, wanted, "mine")


def test_a_fault_stays_whatever_the_condition():
    output = [Annotation(1, "x", "two images"), Annotation(2, "y")]
    for wanted in ("class", "caption", "none", None):
        assert conditions(output, wanted, "x").faults == {0: "two images"}
    assert conditions(output, None, "x").class_names == ("2",)


def test_labels_of_which_none_can_be_used_are_not_dropped_without_a_word():
    output = [checked(label) for label in (0.5, 1.5, None)]
    with pytest.raises(pf.UserError, match=r"no label of mine can be used, such as: label 0\.5 is"):
        conditions(output, None, "mine")
    assert conditions(output, "none", "mine").faults == {}


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (map(str, range(12)), [str(number) for number in range(12)]),
        (["10", "9", "100"], ["9", "10", "100"]),
        (["010", "9", "7"], ["7", "9", "010"]),
        (["2.5", "-1", "10", "0.5"], ["-1", "0.5", "2.5", "10"]),
        (["cat", "10", "9", "Ant"], ["9", "10", "Ant", "cat"]),
        (["1-2", "10", "2"], ["2", "10", "1-2"]),
        ([10, "9", 2], ["2", "9", "10"]),
    ],
)
def test_names_that_are_numbers_are_in_the_order_of_numbers(labels, names):
    rows = [Annotation(label) for label in labels]
    for order in (rows, rows[::-1]):
        assert list(conditions(order, None, "x").class_names) == names
