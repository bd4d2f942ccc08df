"""What is told of a training while it goes on, by a clock that the tests move."""

import pytest
import torch

from patch_forcing.core.losses import LossTerms
from patch_forcing.runs.progress import TrainingProgress
from patch_forcing.views.progress import duration


def terms(velocity):
    loss = torch.tensor(float(velocity))
    return LossTerms(loss + 1, loss, loss)


class Clock:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self):
        return self.now


def test_a_log_gets_a_line_soon_and_then_one_every_minute(capsys):
    clock = Clock()
    progress = TrainingProgress(None, total=2000, done=1000, batch_size=32, clock=clock)
    with progress:
        clock.now += 16
        progress.update(terms(4))
        assert capsys.readouterr().err == (
            "step 1,001 of 2,000: loss 4.000, 2 images/s, 4 h 26 min left\n"
        )
        for loss in (1, 2, 3, float("nan"), 5, 6):
            clock.now += 20
            progress.update(terms(loss))
            if loss == 3:
                assert capsys.readouterr().err == (
                    "step 1,004 of 2,000: loss 2.000, 1.6 images/s, 5 h 32 min left\n"
                )
                progress.record({"step": 1004, "held_out": 2.5, "images_per_second": 1.6})
    assert capsys.readouterr().err == (
        "step 1,007 of 2,000: loss 5.500, held out 2.500, 1.6 images/s, 5 h 31 min left\n"
    )


def test_nothing_is_told_where_nothing_is_wanted(capsys):
    clock = Clock()
    with TrainingProgress(False, total=9, done=0, batch_size=1, clock=clock) as progress:
        clock.now = 1e6
        progress.update(terms(1))
        progress.record({"step": 1, "images_per_second": 1.0})
    assert capsys.readouterr().err == ""


def test_a_bar_shows_the_same(capsys):
    with TrainingProgress(True, total=2, done=0, batch_size=1) as progress:
        for loss in (1, 2):
            progress.update(terms(loss))
        progress.record({"step": 2, "held_out": 2.5, "images_per_second": 812.34})
    assert "loss 1.500, held out 2.500, 812 images/s" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (3599, "1 h 0 min"), (12_000, "3 h 20 min"),
     (86_399, "1 d 0 h"), (187_200, "2 d 4 h")],
)  # fmt: skip
def test_durations_have_their_two_largest_units(seconds, words):
    assert duration(seconds) == words
