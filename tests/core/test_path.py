"""The linear path and its one-step predictions, with a time for every patch."""

import torch
from hypothesis import given
from hypothesis import strategies as st

import patch_forcing as pf

PATCH = 2
PATH = pf.LinearPath(PATCH)
NOISE = torch.randn(3, 2, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
DATA = torch.randn(3, 2, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
PATCHES = 6

times = st.lists(st.floats(0, 1, width=32), min_size=3 * PATCHES, max_size=3 * PATCHES).map(
    lambda t: pf.PatchTime.dense(torch.tensor(t, dtype=torch.float64).view(3, PATCHES))
)


def test_the_path_goes_from_noise_to_data():
    for t, end in ((0.0, NOISE), (1.0, DATA)):
        assert PATH.interpolate(NOISE, DATA, pf.PatchTime.shared(torch.full((3,), t), 6)).equal(end)


@given(times)
def test_every_patch_is_mixed_by_its_own_time(t):
    x_t = PATH.interpolate(NOISE, DATA, t)
    for b in range(3):
        for n in range(PATCHES):
            y, x = PATCH * (n // 3), PATCH * (n % 3)
            cell = (b, slice(None), slice(y, y + PATCH), slice(x, x + PATCH))
            now = t.values[b, n]
            torch.testing.assert_close(x_t[cell], now * DATA[cell] + (1 - now) * NOISE[cell])


def test_the_velocity_is_the_derivative_of_the_path():
    t = 0.5 * torch.rand(3, PATCHES, dtype=torch.float64)
    now, later = (PATH.interpolate(NOISE, DATA, pf.PatchTime.dense(t + h)) for h in (0, 0.5))
    # the path is straight, so that a finite difference is exact
    torch.testing.assert_close((later - now) / 0.5, PATH.velocity(NOISE, DATA))


@given(times)
def test_predictions_with_the_true_velocity_are_the_ends_of_the_path(t):
    x_t, velocity = PATH.interpolate(NOISE, DATA, t), PATH.velocity(NOISE, DATA)
    torch.testing.assert_close(PATH.predict_data(x_t, velocity, t), DATA)
    torch.testing.assert_close(PATH.predict_noise(x_t, velocity, t), NOISE)


@given(times)
def test_predicted_ends_lie_on_one_line_through_x_t_for_any_velocity(t):
    x_t, velocity = torch.randn_like(DATA), torch.randn_like(DATA)
    data, noise = PATH.predict_data(x_t, velocity, t), PATH.predict_noise(x_t, velocity, t)
    torch.testing.assert_close(PATH.interpolate(noise, data, t), x_t)
    torch.testing.assert_close(PATH.velocity(noise, data), velocity)


def test_levels_and_dense_times_mix_alike():
    time = pf.PatchTime(torch.rand(3, 2), torch.randint(2, (3, PATCHES)))
    dense = pf.PatchTime.dense(time.to_dense())
    assert PATH.interpolate(NOISE, DATA, time).equal(PATH.interpolate(NOISE, DATA, dense))
