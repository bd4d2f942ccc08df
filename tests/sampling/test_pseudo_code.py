"""The samplers of the paper against its pseudo-code, written patch by patch."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

import patch_forcing as pf
from patch_forcing.core.output import Model
from tests.support.exact import tiny_dit

GRID = [0.0, 0.03, 0.2, 0.3, 0.75, 1.0]
LABELS = torch.tensor([4, 1])
MODEL = tiny_dit().requires_grad_(False)
FIELD = pf.VelocityField(MODEL, LABELS)
X_0 = pf.CountedGenerator([0, 1]).normal(3, 8, 8)


def evaluate(model: Model, x: Tensor, label: int, t: list[float]) -> tuple[Tensor, list[float]]:
    """Velocity (C, H, W) and difficulty of one image, 4 x 4 patches of side 2."""
    output = model(x[None], torch.tensor([t]), torch.tensor([label]))
    variance = output.logvar[0, 0].exp()
    levels = [variance[rows, cols].mean().item() for rows, cols in map(cell, range(16))]
    return output.velocity[0], levels


def cell(patch: int) -> tuple[slice, slice]:
    y, x = 2 * (patch // 4), 2 * (patch % 4)
    return slice(y, y + 2), slice(x, x + 2)


def step(x: Tensor, patch: int, dt: float, velocity: Tensor) -> None:
    rows, cols = cell(patch)
    x[:, rows, cols] += dt * velocity[:, rows, cols]


def easiest(difficulty: list[float], p: float) -> list[int]:
    return sorted(range(16), key=lambda n: (difficulty[n], n))[: int(p * 16)]


def naive_dual_loop(model, x_0: Tensor, label: int, grid: list[float], p: float, n: int) -> Tensor:
    x = x_0.clone()
    for now, then in pairwise(grid):
        delta = then - now
        velocity, difficulty = evaluate(model, x, label, [now] * 16)
        easy = easiest(difficulty, p)
        for i in range(16):
            step(x, i, delta if i in easy else delta / n, velocity)
        for j in range(1, n):
            mixed = [then if i in easy else now + j * delta / n for i in range(16)]
            velocity, _ = evaluate(model, x, label, mixed)
            for i in range(16):
                if i not in easy:
                    step(x, i, delta / n, velocity)
    return x


def naive_look_ahead(model, x_0: Tensor, label: int, grid: list[float], p: float, r: float):
    x = x_0.clone()
    for now, then in pairwise(grid):
        first, difficulty = evaluate(model, x, label, [now] * 16)
        if now <= 0.05:
            for i in range(16):
                step(x, i, then - now, first)
            continue
        easy, ahead, context = easiest(difficulty, p), min(1.0, r * now), x.clone()
        for i in easy:
            step(context, i, ahead - now, first)
        mixed = [ahead if i in easy else now for i in range(16)]
        second, _ = evaluate(model, context, label, mixed)
        for i in range(16):
            step(x, i, then - now, first if i in easy else second)
    return x


@pytest.mark.parametrize(("p", "n"), [(0.4, 4), (0.7, 2), (0.1, 3)])
def test_dual_loop_is_its_pseudo_code(p, n):
    samples = pf.samplers.DualLoopSampler(p, n)(FIELD, X_0, GRID).x_1
    for image in range(2):
        expected = naive_dual_loop(MODEL, X_0[image], int(LABELS[image]), GRID, p, n)
        torch.testing.assert_close(samples[image], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("p", "r"), [(0.4, 1.4), (0.7, 2.0), (0.1, 5.0)])
def test_look_ahead_is_its_pseudo_code(p, r):
    samples = pf.samplers.LookAheadSampler(p, r)(FIELD, X_0, GRID).x_1
    euler = pf.samplers.EulerSampler()(FIELD, X_0, GRID).x_1
    for image in range(2):
        expected = naive_look_ahead(MODEL, X_0[image], int(LABELS[image]), GRID, p, r)
        torch.testing.assert_close(samples[image], expected, rtol=1e-5, atol=1e-5)
        assert (euler[image] - expected).abs().max() > 1e-3
