"""Which images a user is shown, and what reading makes of their sizes."""

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from patch_forcing.data.layout import Layout
from patch_forcing.data.overview import changes, in_turn


@given(st.lists(st.integers(0, 40), min_size=1, max_size=90), st.sets(st.integers(0, 89)))
def test_every_good_image_comes_once_and_classes_come_in_turn(labels, bad):
    labels = sorted(labels)
    classes = tuple(map(str, range(41)))
    faults = {number: "bad" for number in bad if number < len(labels)}
    layout = Layout("", [""] * len(labels), classes, tuple(labels), faults=faults)
    numbers = list(in_turn(layout))
    assert sorted(numbers) == [n for n in range(len(labels)) if n not in faults]
    present = {labels[number] for number in numbers}
    assert {labels[number] for number in numbers[: len(present)]} == present


def test_of_many_classes_and_many_images_those_shown_are_evenly_spread():
    layout = Layout("", [""] * 320, labels=tuple(n // 10 for n in range(320)))
    assert [layout.labels[n] for n in islice(in_turn(layout), 16)] == list(range(0, 32, 2))
    assert list(islice(in_turn(Layout("", [""] * 160)), 16)) == list(range(0, 160, 10))


def test_what_is_enlarged_cropped_or_padded_is_counted():
    sizes = [(64, 64), (32, 64), (100, 80), (16, 16)]
    assert changes(sizes, [(64, 64)], "crop") == [
        "enlarged: 2 of 4 are smaller than 64×64, the smallest 4 times",
        "cropped: 2 of 4 are not square and lose at most 50 % of an image",
    ]
    assert changes(sizes, [(64, 64)], "pad") == [
        "enlarged: 1 of 4 are smaller than 64×64, the smallest 4 times",
        "padded with white: 2 of 4 are not square and leave at most 50 % of the square white",
    ]
    assert changes([(64, 64)], [(64, 64)], "crop") == []
    assert changes([(64, 32), (100, 110), (20, 10)], [(64, 64), (40, 80)], "crop") == [
        "enlarged: 2 of 3 are smaller than their size in training, the smallest 4 times",
        "cropped: 1 of 3 are of another aspect than their size and lose at most 9 % of an image",
    ]
