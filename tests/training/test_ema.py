"""The average against its definition."""

from pathlib import Path

import pytest
import torch

from patch_forcing.training.ema import ema_share, update_ema


def test_average_follows_the_recursion_with_its_warm_up():
    torch.manual_seed(1)
    average, history = [torch.randn(3, dtype=torch.float64)], torch.randn(200, 3).double()
    expected = average[0].clone()
    for step, weights in enumerate(history, start=1):
        update_ema(average, [weights], ema_share(step, 0.9))
        decay = min(0.9, step / (step + 9))
        expected = decay * expected + (1 - decay) * weights
        torch.testing.assert_close(average[0], expected)


def test_the_start_is_forgotten_after_a_few_steps():
    average = [torch.full((1,), 1e6)]
    for step in range(1, 61):
        update_ema(average, [torch.zeros(1)], ema_share(step, 0.9999))
    assert average[0].item() < 1


@pytest.mark.parametrize(("decay", "step"), [(0.9999, 89_991), (0.9995, 17_991)])
def test_the_warm_up_lasts_until_the_step_that_the_pages_name(decay, step):
    assert round(9 * decay / (1 - decay)) == step
    assert ema_share(step - 1, decay) == 1 - (step - 1) / (step + 8) > 1 - decay
    assert ema_share(step + 1, decay) == 1 - decay
    page = Path(__file__).parents[2] / "docs/training.md"
    assert f"{step:,} for" in page.read_text(encoding="utf-8")


def test_equal_weights_stay():
    average = [torch.ones(4)]
    update_ema(average, [torch.ones(4)], ema_share(1, 0.5))
    assert average[0].equal(torch.ones(4))
