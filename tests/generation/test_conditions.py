"""What users write and give as conditions, and what is made of it."""

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

import patch_forcing as pf
from patch_forcing.generation.class_conditions import Classes, ClassLabels, Unconditional
from patch_forcing.generation.condition_check import KEYWORDS, check_conditions
from patch_forcing.generation.condition_kinds import KINDS, choose_conditions, condition_kind
from patch_forcing.generation.conditions import ConditionKind, Conditions, NoConditions
from patch_forcing.generation.find import find_bundled
from patch_forcing.generation.numbers import write_numbers
from patch_forcing.io.run_layout import checkpoint_path, ema_folder
from tests.support.exact import tiny_dit

NAMES = ("cat", "dog, wild", "7", "owl", "1-2")
KIND = Classes(len(NAMES), NAMES)
words = st.text("ab0179- ", max_size=4)
names_with_commas = st.lists(words | st.builds("{},{}".format, words, words), unique=True)


def named(names):
    return Classes(len(names), tuple(names))


@given(names_with_commas.filter(bool))
def test_every_name_alone_is_its_class(names):
    kind = named(names)
    assert [kind.parse(name).labels for name in names] == [(i,) for i in range(len(names))]


@given(st.data())
def test_names_without_commas_are_read_back_from_a_list(data):
    names = data.draw(st.lists(words, unique=True, min_size=1))
    chosen = data.draw(st.lists(st.integers(0, len(names) - 1), min_size=1))
    text = ",".join(names[label] for label in chosen)
    assert named(names).parse(text).labels == tuple(chosen)


@given(st.lists(st.integers(0, 99), min_size=1))
def test_numbers_and_ranges_are_read_back(labels):
    assert Classes(100).parse(write_numbers(labels)).labels == tuple(labels)


@given(names_with_commas, st.text("ab0179-, ", max_size=8))
def test_any_text_gives_classes_that_exist_or_an_error(names, text):
    kind = named(names)
    try:
        labels = kind.parse(text).labels
    except pf.UserError:
        return
    assert labels
    assert all(0 <= label < len(names) for label in labels)


def test_numbers_that_are_names_are_those_classes_and_others_are_numbers():
    assert KIND.parse("7,1-2,0-1,dog, wild").labels == (2, 4, 0, 1, 1)
    assert KIND.choose(["7", 3, 0]).labels == (2, 3, 0)


def test_all_is_each_class_in_turn_by_seed_unless_a_class_is_called_so():
    every = KIND.parse("all")
    assert len(every) == 5
    assert every.for_seeds([0, 4, 5, 13]).labels == (0, 4, 0, 3)
    assert Classes(2, ("all", "b")).parse("all").labels == (0,)


def test_one_condition_serves_all_seeds_and_several_have_to_be_as_many():
    assert KIND.choose([3]).for_seeds(range(4)).labels == (3, 3, 3, 3)
    assert KIND.choose([3, 1]).for_seeds([7, 9]).labels == (3, 1)
    assert KIND.choose([3, 1]).for_seeds(range(5)).labels == (3, 1, 3, 1, 3)
    assert KIND.choose([3, 1]).for_seeds([5, 2, 3]).labels == (1, 3, 1)
    assert KIND.choose([3, 1]).by_seed().for_seeds([7, 9]).labels == (1, 1)


@pytest.mark.parametrize("conditions", [KIND.choose([4, 0, 1]), NoConditions(3)])
def test_conditions_are_immutable_and_are_sliced_as_images_are(conditions):
    assert isinstance(conditions, Conditions)
    with pytest.raises(FrozenInstanceError):
        conditions.count = 7
    rows, whole = range(3), conditions.tensor("cpu")
    for first in rows:
        part = conditions[first : first + 2]
        assert len(part) == len(rows[first : first + 2])
        assert (
            part.captions(rows[first : first + 2]) == conditions.captions(rows)[first : first + 2]
        )
        assert part.record(0) == conditions.record(first)
        tensor = part.tensor("cpu")
        assert tensor is whole is None or tensor.equal(whole[first : first + 2])
    assert conditions == conditions[:] == conditions.for_seeds(rows)
    assert hash(conditions) == hash(conditions[:])


def test_classes_are_captioned_by_name_and_recorded_by_number():
    labels = ClassLabels((1, 3, 3), NAMES)
    assert labels.captions([5, 6, 7]) == ["dog, wild", "owl", "owl"]
    assert labels.record(1) == {"label": 3, "class": "owl"}
    assert ClassLabels((1, 3)).record(1) == {"label": 3}
    assert labels.plan() == {"labels": "1,3,3"}
    assert labels[1:].plan() == {"labels": "3"}
    assert ClassLabels((1, 3)).captions([5, 6]) == ["1", "3"]


def test_no_condition_is_captioned_by_seed_and_recorded_as_none():
    nothing = NoConditions(2)
    assert nothing.captions([5, 6]) == ["seed 5", "seed 6"]
    assert (nothing.record(1), nothing.plan()) == ({"label": None}, {"labels": None})
    assert (nothing.labels, nothing.tensor("cpu")) == (None, None)


def test_what_is_shown_where_nobody_chooses():
    assert KIND.first(3).labels == (0, 1, 2)
    assert KIND.first(10).labels == (0, 1, 2, 3, 4)
    assert KIND.in_turn(7).labels == (0, 1, 2, 3, 4, 0, 1)
    assert KIND.evenly(2).labels == (0, 2)
    assert KIND.evenly(7).labels == (0, 0, 1, 2, 2, 3, 4)
    for conditions in (Unconditional().first(6), Unconditional().in_turn(6)):
        assert conditions == Unconditional().evenly(6) == NoConditions(6)


def test_a_model_has_the_kind_that_its_configuration_says():
    model = tiny_dit()
    model.data_info = pf.DataInfo(class_names=("a", "b", "c", "d", "e"))
    kind = condition_kind(model, "mine")
    assert kind == Classes(5, ("a", "b", "c", "d", "e"), "mine")
    assert isinstance(kind, ConditionKind)
    assert condition_kind(tiny_dit(num_classes=0), "other") == Unconditional(model="other")
    assert {name: kind.keyword for name, kind in KINDS.items()} == KEYWORDS


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (KIND, "seven", "unknown class 'seven'"),
        (Classes(3, ("cat-face", "math", "b"), "mine"), "cat", "did you mean 'cat-face'. patch-fo"),
        (Classes(3, NAMES[:3], "mine"), "z", "known: 7, cat, dog, wild; patch-forcing info mine"),
        (KIND, "5", "label 5 is out of range: this model knows 0 to 4"),
        (KIND, "cat,,owl", "unknown class ''"),
        (KIND, "4-3", "runs backwards: write 3-4"),
        (Unconditional(model="mine"), "all", "--labels all: mine has no classes: leave it out"),
        (Unconditional(), "3", "label 3: this model is unconditional, give no labels"),
        (Unconditional(), "cat", "unknown class 'cat': there are none, leave it out"),
    ],
)
def test_what_a_model_does_not_know_is_named(kind, text, message):
    with pytest.raises(pf.UserError, match=message):
        kind.parse(text)


def test_conditions_come_by_the_keyword_of_their_kind():
    assert choose_conditions(KIND, {"labels": "owl"}) == KIND.choose([3])
    assert choose_conditions(KIND, {"labels": 3}) == KIND.choose(["owl"])
    assert choose_conditions(KIND, {"labels": "7,owl"}) == KIND.choose([2, 3])
    assert choose_conditions(KIND, {"labels": range(5)}) == KIND.first(5)
    for texts in ({"labels": None}, {}):
        assert choose_conditions(KIND, texts) == NoConditions()
    assert choose_conditions(KIND, {"labels": "none"}) == NoConditions()
    assert named(["none", "a"]).parse("none").labels == (0,)
    with pytest.raises(pf.UserError, match="prompt 'a cat': this model takes labels"):
        choose_conditions(KIND, {"labels": None, "prompt": "a cat"})


@pytest.mark.parametrize(
    ("names", "text", "labels"),
    [
        (sorted(map(str, range(12))), "2-4", (4, 5, 6)),
        (sorted(map(str, range(12))), "9-11,0", (11, 2, 3, 0)),
        (("007", "008", "9"), "7-9", (0, 1, 2)),
        (("007", "008", "9"), "007-009", (0, 1, 2)),
        (("007", "008", "9"), "7,0", (0, 0)),
        ((" 8", "7 ", "9"), "7-9", (1, 0, 2)),
        (("5", "cat", "1", "3"), "0-3", (0, 2, 2, 3)),
        (("2", "02", "1"), "1-2,01-02", (2, 0, 2, 1)),
    ],
)
def test_each_number_of_a_range_is_read_as_a_number_alone(names, text, labels):
    kind = Classes(len(names), tuple(names))
    assert kind.parse(text).labels == labels


@given(st.lists(st.from_regex(r"[ ]?0{0,2}[0-9]", fullmatch=True), unique_by=int, min_size=1))
def test_a_range_is_its_numbers_however_names_write_them(names):
    kind = named(names)
    for first in range(len(names)):
        numbers = range(first, len(names))
        text = f"{first}-{len(names) - 1}"
        assert kind.parse(text) == kind.parse(",".join(map(str, numbers)))


def test_a_number_that_two_names_write_otherwise_is_refused():
    with pytest.raises(pf.UserError, match="--labels 6-7: 7 is '007' or '07': write the one"):
        Classes(8, ("007", "07", "a", "b", "c", "d", "e", "f")).parse("6-7")


def test_accents_may_be_written_apart_as_on_a_mac():
    composed, apart = "B\u00e4r", "Ba\u0308r"
    for name, written in ((composed, apart), (apart, composed)):
        kind = Classes(2, ("cat", name))
        assert kind.parse(written).labels == kind.choose([written]).labels == (1,)
    both = Classes(2, (composed, apart))
    assert both.parse(f"{apart},{composed}").labels == (1, 0)


def test_labels_for_a_run_are_held_against_its_newest_checkpoint_before_it_is_loaded(tmp_path):
    labels = {"labels": "10", "prompt": None}
    check_conditions(tmp_path, labels)  # nothing is there: the loader says so
    (tmp_path / "run.json").touch()
    check_conditions(tmp_path, labels)
    newest = ema_folder(checkpoint_path(tmp_path, 2)) / "config.json"
    newest.parent.mkdir(parents=True)
    newest.write_bytes((find_bundled("digits") / "config.json").read_bytes())
    with pytest.raises(pf.UserError, match="label 10 is out of range: this model knows 0 to 9"):
        check_conditions(tmp_path, labels)
    check_conditions(tmp_path, {"labels": "0-9"})
    newest.write_text("{")
    check_conditions(tmp_path, labels)  # an older checkpoint may be taken
