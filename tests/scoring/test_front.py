"""Quality against cost, on the bundled models."""

import pytest

from patch_forcing.features.emoji import load_emoji_features
from patch_forcing.generation.pipeline import load
from patch_forcing.generation.request import SampleRequest
from patch_forcing.scoring.front import Question, conditions_for, front


def test_errors_fall_with_the_budget_and_second_order_has_the_smaller_ones():
    samplers = ["euler", "adams-bashforth"]
    points = list(front(load("digits"), samplers, Question((4, 16), 10)))
    euler, second = points[:2], points[2:]
    for few, many in (euler, second):
        assert many.error < few.error / 2
        assert (few.nfe, many.nfe) == (4, 16)
    assert all(b.error < a.error for a, b in zip(euler, second, strict=True))
    assert points[0].fd is None


@pytest.mark.slow
def test_emoji_models_are_measured_in_their_features():
    features = load_emoji_features()
    request = SampleRequest(time_grid="shifted:shift=2.5")
    question = Question((6,), 8, request, features=features)
    (point,) = front(load("emoji-64"), ["adams-bashforth"], question)
    assert point.accuracy >= 0.25
    assert 0 < point.fd < 2000


def test_labels_come_as_often_as_in_real_scenes():
    features = load_emoji_features()
    labels = conditions_for(load("emoji-64"), Question((1,), 20_000, features=features)).labels
    flags = features.class_names.index("country-flag")
    expected = (features.classes == flags).float().mean()
    assert labels.count(flags) / len(labels) == pytest.approx(float(expected), rel=0.1)
    assert conditions_for(load("digits"), Question((1,), 12)).labels == (*range(10), 0, 1)
