"""What the curves of a training show, by closed forms."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from patch_forcing.views.curves import by_time, curve, smoothed, training_curves

steps = st.lists(st.floats(-10, 10), min_size=1, max_size=130)


def test_what_is_not_finite_is_left_out():
    rows = [{"step": 1, "a": 1.5}, {"step": 2, "a": None}, {"step": 3}, {"step": 4, "a": math.inf}]
    assert curve(rows, "a") == [(1, 1.5)]


@given(steps)
def test_smoothing_keeps_steps_and_range(values):
    points = list(enumerate(values))
    means = smoothed(points)
    assert [step for step, _ in means] == [step for step, _ in points]
    for _, mean in means:
        assert min(values) - 1e-9 <= mean <= max(values) + 1e-9
    if len(values) < 40:
        assert means == points


@given(st.integers(1, 130))
def test_smoothing_leaves_a_straight_line(count):
    points = [(step, 2.0 * step + 1) for step in range(count)]
    assert [mean for _, mean in smoothed(points)] == pytest.approx([mean for _, mean in points])


def test_by_time_is_the_mean_of_each_tenth():
    rows = [
        {"step": 1, "loss_at_0.0": 1.0, "loss_at_0.9": None},
        {"step": 2, "loss_at_0.0": 2.0, "loss_at_0.9": 4.0},
    ]
    assert by_time(rows, "loss_at_") == [(0.05, 1.5), (0.95, 4.0)]


def test_only_panels_with_values_are_drawn(tmp_path):
    plain = [{"step": step, "velocity": 1 / step, "images_per_second": 9.0} for step in (1, 2)]
    watched = [{**row, "held_out": 1.0, "seen": 1.0, "difficulty_ratio": 1.1} for row in plain]
    training_curves({"plain": plain}, tmp_path / "two.png")
    training_curves({"plain": plain, "watched": watched}, tmp_path / "four.png")
    with Image.open(tmp_path / "two.png") as two, Image.open(tmp_path / "four.png") as four:
        assert two.width < four.width
        assert two.height < four.height
