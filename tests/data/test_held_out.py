"""Which images are held out: by their names alone, and never all of a class."""

import os

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import patch_forcing as pf
from patch_forcing.data.batch import HoldsOut
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.held_out import hold_out, nearest_places, place, usual_share
from patch_forcing.data.layout import Layout
from patch_forcing.data.sources import FolderSource
from tests.support.image_files import photos

NAMES = [f"{number:05d}.png" for number in range(4000)]


@pytest.mark.parametrize(
    ("count", "share"),
    [(40, 0), (99, 0), (100, 0.1), (999, 0.1), (1000, 0.05), (39_999, 0.05), (40_000, 0.025),
     (79_999, 0.025), (80_000, 0.0125), (1_281_167, 0.05 / 64)],
)  # fmt: skip
def test_the_usual_share_is_of_the_number_of_images(count, share):
    assert usual_share(count) == share
    assert share == 0 or 10 <= share * count <= 2000
    assert count < 1000 or share * count >= 50


def test_places_are_even():
    places = sorted(map(place, NAMES))
    apart = max(abs(p - (n + 0.5) / len(places)) for n, p in enumerate(places))
    assert apart < 1.7 / len(places) ** 0.5  # Kolmogorov and Smirnov, one in 170


@given(st.sets(st.sampled_from(NAMES), min_size=1), st.sets(st.sampled_from(NAMES)),
       st.floats(0, 0.5), st.floats(0, 0.5))  # fmt: skip
def test_added_images_move_no_other_and_a_larger_share_holds_out_more(names, more, share, larger):
    def held(names, share):
        layout = Layout("", sorted(names))
        training, out = hold_out(layout, share)
        others = list(out.names) if out else []
        assert sorted([*training.names, *others]) == sorted(names)
        return set(others), max(names, key=place)

    one, last = held(names, share)
    both, last_of_both = held(names | more, share)
    assert both & names - {last} == one - {last_of_both}
    low, high = sorted((share, larger))
    assert held(names, low)[0] <= held(names, high)[0]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60))
def test_each_class_keeps_an_image(labels):
    names, classes = NAMES[: len(labels)], tuple("abcdef")
    faults = {0: "bad"}
    layout = Layout("", names, classes, tuple(labels), faults=faults)
    training, held = hold_out(layout, 0.5)
    assert set(training.labels) == set(labels)
    for part in (training, held) if held else (training,):
        assert part.class_names == classes
        for number, name in enumerate(part.names):
            assert part.labels[number] == labels[names.index(name)]
            assert (number in part.faults) == (name == names[0])


def test_images_are_read_by_their_own_numbers():
    layout = Layout("", NAMES[:9], read=lambda number: b"%d" % number)
    part = layout.part([2, 7])
    assert [part.file(number)() for number in range(2)] == [b"2", b"7"]
    assert nearest_places(layout, 3) == sorted(range(9), key=lambda n: place(NAMES[n]))[:3]


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    return photos(tmp_path_factory.mktemp("data") / "pets", {"cat": 20, "owl": 20})


def test_a_folder_trains_on_the_others_and_shows_those_held_out(pets):
    whole, data = FolderSource(str(pets)).open(), FolderSource(str(pets), held_out=0.3).open()
    held = {name for name in whole.layout.names if place(name) < 0.3}
    assert isinstance(data, HoldsOut)
    assert set(data.layout.names) == set(whole.layout.names) - held
    assert data.facts["held_out"]["images"] == len(held) == 40 - data.num_samples
    assert data.summary.splitlines()[0].endswith(f"; {len(held)} more are held out")
    assert whole.examples(9) is None
    assert "held_out" not in whole.facts
    unseen, seen = data.examples(9)
    assert len(unseen.ids) == len(seen.ids) == 9
    pictures = {name: whole.picture(number) for number, name in enumerate(whole.layout.names)}
    for examples, names in ((unseen, held), (seen, set(data.layout.names))):
        nearest = sorted(names, key=place)[:9]
        assert examples.batch.x_1.equal(torch.stack([pictures[name] for name in nearest]))
        labels = [data.info.class_names[label] for label in examples.batch.condition]
        assert labels == [os.path.dirname(name) for name in nearest]  # noqa: PTH120
        assert examples.ids.tolist() == [int(place(name) * 2**32) for name in nearest]
    again = data.in_recorded_order(("owl", "cat")).examples(9)[0]
    assert again.batch.condition.equal(1 - unseen.batch.condition)
    assert len(data.batch(BatchSpec(0, 4, 0)).x_1) == 4


def test_bad_images_are_not_looked_at(tmp_path):
    photos(tmp_path, {"": 20})
    names = sorted((file.name for file in tmp_path.iterdir()), key=place)
    (tmp_path / names[0]).write_bytes(b"")
    data = FolderSource(str(tmp_path), held_out=0.4).open()
    held = sum(place(name) < 0.4 for name in names)
    assert len(data.examples(20)[0].ids) == held - 1


def test_a_share_that_holds_out_nothing_or_is_none_is_refused(pets):
    with pytest.raises(pf.UserError, match=r"data\.held_out=0\.001 of 40 images holds out none"):
        FolderSource(str(pets), held_out=0.001).open()
    with pytest.raises(pf.UserError, match=r"data\.held_out=0\.6 is out of range"):
        FolderSource(str(pets), held_out=0.6)
    assert FolderSource(str(pets), held_out=None).open().held_out_share == 0
