"""Guidance away from noisier patches: closed forms, draws, and what depends on nothing else."""

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
import torch
from torch import Tensor

import patch_forcing as pf
from patch_forcing.core.patches import spread
from patch_forcing.core.random import CountedGenerator
from patch_forcing.core.time import PatchTime
from patch_forcing.sampling.edit_field import EditField, EditMap
from patch_forcing.sampling.grids import uniform_grid
from patch_forcing.sampling.guidance import Guidance
from patch_forcing.sampling.noisier import Draws
from patch_forcing.sampling.samplers import count_evaluations, preset
from tests.support.exact import IndependentGaussian, tiny_dit, to_patches

MODEL = tiny_dit()
LABELS = torch.tensor([0, 3, 1])
SEEDS = (4, 9, 2**40)
GRID = uniform_grid(4)
X = CountedGenerator(SEEDS).fork("noise").normal(3, 8, 8)
KEPT = pf.NoisierGuidance(3.0, ratio=0.6, keep_condition=True)


@dataclass(frozen=True)
class Listening(IndependentGaussian):
    """The exact model, with what it was last shown."""

    heard: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def __call__(self, x_t, t, condition, **more):
        self.heard[:] = [(x_t, t.to_dense())]
        return super().__call__(x_t, t, condition)


def velocity(guidance, t, x=X, labels=LABELS, seeds=SEEDS, model=MODEL):
    guidance = guidance and guidance.for_images(seeds, GRID)
    return pf.VelocityField(model, labels, guidance)(x, t).velocity


def everywhere(t, x=X, patches=16):
    return PatchTime.everywhere(t, x, patches)


@pytest.mark.parametrize("t", [0.25, 0.3, 0.5, 0.75])
@pytest.mark.parametrize("keep", [True, False])
def test_of_one_time_it_is_the_formula_in_numbers_bit_for_bit(t, keep):
    """As `benchmarks/guidance` had it when it was measured; at times of the grid its draws too."""
    scale, ratio = 2.0, 0.8
    s = ratio * t
    sigma = max((1 - s) ** 2 - ratio**2 * (1 - t) ** 2, 0.0) ** 0.5
    guidance = pf.NoisierGuidance(scale, ratio=ratio, keep_condition=keep)
    draws = Draws(SEEDS, GRID)
    half = draws.half(everywhere(t))
    noise = draws.noise(everywhere(t), X)
    if t in GRID:
        step = GRID.index(t) + 1
        first = CountedGenerator(SEEDS, step=step // 2).fork("half").uniform(16)
        lowest = first < first.sort(dim=1).values[:, 8:9]
        assert torch.equal(half, ~lowest if step % 2 else lowest)
        assert torch.equal(noise, CountedGenerator(SEEDS, step=step).fork("weak").normal(3, 8, 8))
    pixels = spread(half, (8, 8), 2)
    x_s = torch.where(pixels, ratio * X + sigma * noise, X)
    earlier = torch.cat([torch.zeros_like(half), half])
    weak = LABELS if keep else torch.full_like(LABELS, 5)
    v, v_s = MODEL(
        torch.cat([X, x_s]), PatchTime.two_level(earlier, s, t), torch.cat([LABELS, weak])
    ).velocity.chunk(2)
    v_weak = torch.where(pixels, (x_s + (1 - s) * v_s - X) / (1 - t), v_s)
    assert torch.equal(velocity(guidance, everywhere(t)), v_weak + scale * (v - v_weak))


def test_noisier_patches_have_the_mean_and_the_variance_of_their_time():
    """One x_1, many x_0 and ε; patches of four times, of which the last has arrived."""
    times, ratio, count = torch.tensor([0.0, 0.3, 0.9, 1.0]), 0.7, 4000
    draws = CountedGenerator(range(count)).fork("x_0")
    x_1 = torch.linspace(-1, 1, 4).view(1, 1, 2, 2)
    grown = times.view(1, 1, 2, 2)
    x_t = grown * x_1 + (1 - grown) * draws.normal(1, 2, 2)
    guidance = pf.NoisierGuidance(2.0, ratio=ratio, keep_condition=True)
    model = Listening(patch_size=1)
    t = PatchTime.dense(times.expand(count, 4))
    velocity(guidance, t, x_t, None, range(count), model)
    x, seen = (part[count:].flatten(1) for part in model.heard[0])
    half = Draws(range(count), GRID).half(t)
    assert not half[:, 3].any()
    assert torch.equal(seen[~half], times.expand(count, 4)[~half])
    assert torch.equal(x[~half], x_t.flatten(1)[~half])
    for patch, time in enumerate(times.tolist()[:3]):
        s, values = ratio * time, x[half[:, patch], patch]
        torch.testing.assert_close(seen[half[:, patch], patch], torch.full_like(values, s))
        mean = s * x_1.flatten()[patch].item()
        assert values.mean().item() == pytest.approx(mean, abs=4 * (1 - s) / len(values) ** 0.5)
        assert values.std().item() == pytest.approx(1 - s, rel=4 / (2 * len(values)) ** 0.5)


def test_on_exact_data_the_guided_velocity_has_a_known_mean():
    """E[x_1|x_s] = μ + g·(x_s − s·μ) of pixels ~ N(μ, τ²), and x_s is ratio·x_t on average."""
    data, ratio, scale, count = IndependentGaussian(), 0.5, 2.0, 4000
    times = torch.tensor([0.0, 0.2, 0.6, 1.0])
    x_t = torch.linspace(-1, 1, 16).view(1, 1, 4, 4).expand(count, -1, -1, -1)
    t = PatchTime.dense(times.expand(count, 4))
    guidance = pf.NoisierGuidance(scale, ratio=ratio, keep_condition=True)
    guided = velocity(guidance, t, x_t, None, range(count), data)
    s = ratio * times
    gain = s * data.std**2 / (s**2 * data.std**2 + (1 - s) ** 2)
    x = to_patches(x_t[:1], 2)[0]  # (N, P²)
    plain = to_patches(data(x_t[:1], PatchTime.dense(times[None]), None).velocity, 2)[0]
    half = Draws(range(count), GRID).half(t)
    pixels = to_patches(guided, 2)
    for patch in range(4):
        untouched = pixels[~half[:, patch], patch]
        torch.testing.assert_close(untouched, plain[patch].expand_as(untouched))
    for patch in range(3):
        x_1 = data.mean + gain[patch] * (ratio * x[patch] - s[patch] * data.mean)
        weak = (x_1 - x[patch]) / (1 - times[patch])
        values = pixels[half[:, patch], patch]
        error = values.std(0) / len(values) ** 0.5
        wanted = weak + scale * (plain[patch] - weak)
        assert ((values.mean(0) - wanted).abs() <= 4.5 * error + 1e-5).all()


def test_with_as_much_information_nothing_is_guided_but_by_the_label():
    almost = {"ratio": 1 - 1e-9}
    t = PatchTime.two_level(torch.arange(16).expand(3, 16) % 3 == 0, 0.7, 0.4)
    kept = velocity(pf.NoisierGuidance(3.0, **almost, keep_condition=True), t)
    torch.testing.assert_close(kept, velocity(None, t), rtol=1e-3, atol=2e-3)
    dropped = velocity(pf.NoisierGuidance(3.0, **almost), t)
    torch.testing.assert_close(
        dropped, velocity(pf.ClassifierFreeGuidance(3.0), t), rtol=1e-3, atol=2e-3
    )
    assert not torch.allclose(velocity(KEPT, t), velocity(None, t), atol=0.1)


def test_however_times_are_written_it_is_the_same():
    where = torch.arange(16).expand(3, 16) % 3 == 0
    two = PatchTime.two_level(where, 1.0, 0.4)
    three = PatchTime(torch.tensor([[0.4, 1.0, 0.7]]).expand(3, 3), where.long())
    expected = velocity(KEPT, two)
    for other in (three, three.padded(), PatchTime.dense(two.to_dense())):
        torch.testing.assert_close(velocity(KEPT, other), expected)
    shared = velocity(KEPT, PatchTime.shared(torch.full((3,), 0.3), 16))
    torch.testing.assert_close(shared, velocity(KEPT, everywhere(0.3)))


def test_halves_of_a_pair_of_steps_are_complements_and_other_times_draw_their_own():
    draws = Draws(SEEDS, GRID)
    halves = {t: draws.half(everywhere(t)) for t in (0.25, 0.26, 0.27, 0.5)}
    assert torch.equal(halves[0.25], ~halves[0.5])
    assert all(half.sum(1).tolist() == [8, 8, 8] for half in halves.values())
    assert not torch.equal(halves[0.26], halves[0.27])
    noises = [draws.noise(everywhere(t), X) for t in (0.25, 0.26, 0.27, 0.5)]
    assert all(not torch.equal(a, b) for a, b in pairwise(noises))
    mixed = PatchTime.shared(torch.tensor([0.25, 0.5, 0.26]), 16)  # each image has its own time
    own = [halves[t][row] for row, t in enumerate((0.25, 0.5, 0.26))]
    assert torch.equal(draws.half(mixed), torch.stack(own))


SAMPLERS = {
    "adams-bashforth": pf.samplers.AdamsBashforthSampler(),
    "heun": pf.samplers.HeunSampler(),
    "dual-loop": pf.samplers.DualLoopSampler(),
    "dual-loop, moving": pf.samplers.DualLoopSampler(evaluate="moving"),
    "look-ahead": pf.samplers.LookAheadSampler(),
    "multirate": pf.samplers.MultirateSampler(evaluate="all"),
    "adaptive": pf.samplers.AdaptiveSampler(evaluate="all"),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_an_image_depends_on_its_seed_and_not_on_its_batch(name):
    def run(rows):
        guidance = pf.NoisierGuidance(2.0, (0.1, 0.8)).for_images(SEEDS[rows], GRID)
        made = pf.VelocityField(MODEL, LABELS[rows], guidance)
        return SAMPLERS[name](made, X[rows], GRID)

    together = run(slice(None))
    torch.testing.assert_close(run(slice(1, 2)).x_1, together.x_1[1:2], rtol=1e-4, atol=1e-4)
    if not name.startswith(("adaptive", "multirate")):
        planned = count_evaluations(SAMPLERS[name], GRID, 16, pf.NoisierGuidance(2.0, (0.1, 0.8)))
        assert together.nfe == pytest.approx(planned)


def test_where_all_is_computed_a_part_of_the_patches_is_the_whole_bit_for_bit():
    def run(**options):
        made = pf.VelocityField(MODEL, LABELS, KEPT.for_images(SEEDS, GRID))
        return pf.samplers.DualLoopSampler(inner_steps=2, **options)(made, X, GRID).x_1

    assert torch.equal(run(evaluate="moving", refresh=1), run())
    assert not torch.equal(run(evaluate="moving"), run())


def test_an_edit_keeps_what_is_kept_and_guides_the_rest():
    strength = torch.tensor([0.0, 0.4, 1.0, 0.0] * 4)
    kept = spread(strength[None] == 0, (8, 8), 2)
    edit = EditMap(X[:1], strength, kept, 2)
    made = [
        pf.samplers.AdamsBashforthSampler()(
            EditField(pf.VelocityField(MODEL, LABELS, guidance), edit), X, GRID
        ).x_1
        for guidance in (KEPT.for_images(SEEDS, GRID), None)
    ]
    finished = [edit.finished(y) for y in made]
    assert all(one.isfinite().all() for one in finished)
    assert torch.equal(*(one.masked_select(kept) for one in finished))
    changed = (finished[0] - finished[1]).abs().amax(1, keepdim=True) > 1e-4
    assert changed[~kept.expand_as(changed)].float().mean() > 0.9


def test_images_without_a_condition_are_guided_if_it_is_kept():
    guided, plain = (velocity(one, everywhere(0.3), labels=None) for one in (KEPT, None))
    assert not torch.allclose(guided, plain, atol=1e-2)


@pytest.mark.parametrize(
    ("guidance", "labels", "message"),
    [
        (pf.NoisierGuidance(2.0), LABELS, r"no seeds to draw from: call its for_images"),
        (pf.NoisierGuidance(2.0).for_images([1, 2]), LABELS, "2 seeds for 3 images"),
        (pf.NoisierGuidance(2.0), None, "noisier:keep_condition=true"),
    ],
)
def test_what_it_lacks_is_said(guidance: Guidance, labels, message):
    with pytest.raises(pf.UserError, match=message):
        pf.VelocityField(MODEL, labels, guidance)(X, everywhere(0.5))


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.5, float("nan")])
def test_a_ratio_lies_between_0_and_1(ratio):
    with pytest.raises(pf.UserError, match="noisier: ratio"):
        pf.NoisierGuidance(2.0, ratio=ratio)


def test_a_budget_takes_no_settings_that_were_measured_with_other_guidance():
    budget = "adams-bashforth", 8, 16
    by_label = preset(*budget, pf.ClassifierFreeGuidance(2.0, (0.1, 0.8)))
    assert by_label == "adams-bashforth:reuse_guidance=true"
    assert preset(*budget, pf.NoisierGuidance(2.0, (0.1, 0.8))) == "adams-bashforth"


def test_other_guidance_draws_nothing():
    guidance = pf.ClassifierFreeGuidance(2.0)
    assert guidance.for_images([1]) is guidance
