"""Difficulty of a field that predicts none, in closed form."""

import pytest
import torch

import patch_forcing as pf
from patch_forcing import hosts
from patch_forcing.sampling.edit_field import EditField, EditMap
from patch_forcing.sampling.field import KeepingField
from tests.support.exact import IndependentGaussian

GRID = [0.0, 0.25, 0.5, 0.75, 1.0]


class Steps:
    """Velocity a·x, with a number for each patch of side 2, and b times that without a label."""

    patch_size = 2

    def __init__(self, a, b=1.0):
        self.a, self.b = torch.as_tensor(a), b

    def __call__(self, x_t, t, condition=None):
        rate = pf.spread(self.a.expand(len(x_t), -1), x_t.shape[-2:], 2)
        if condition is not None:
            rate = rate * torch.where(condition == 0, self.b, 1.0)[:, None, None, None]
        return pf.ModelOutput(rate * x_t)

    def check_condition(self, condition, batch):
        pass

    def drop_condition(self, condition, dropped):
        return condition.masked_fill(dropped, 0)


A = [0.5, -1.0, 2.0, 0.0]
X = torch.ones(2, 3, 4, 4)


def seen(field, t):
    return field(X, pf.PatchTime.shared(torch.full((2,), t), 4)).difficulty


def test_spread_is_the_variance_within_a_patch():
    field = hosts.with_difficulty(pf.VelocityField(Steps(A)), "spread")
    assert seen(field, 0.5).abs().max() < 1e-6  # x is constant
    x = torch.randn(2, 3, 4, 4)
    d = field(x, pf.PatchTime.shared(torch.full((2,), 0.5), 4)).difficulty
    patch = 2.0 * x[1, :, 2:, :2]
    torch.testing.assert_close(d[1, 2], patch.var(correction=0))


def test_contrast_is_the_variance_of_the_clean_prediction():
    field = hosts.with_difficulty(pf.VelocityField(Steps(A)), "contrast")
    x = torch.randn(2, 3, 4, 4)
    d = field(x, pf.PatchTime.shared(torch.full((2,), 0.5), 4)).difficulty
    patch = (1 + 0.5 * 2.0) * x[1, :, 2:, :2]
    torch.testing.assert_close(d[1, 2], patch.var(correction=0))


def test_change_is_that_of_the_clean_prediction():
    """x̂_1 = (1 + (1 − t)·a)·x."""
    field = hosts.with_difficulty(pf.VelocityField(Steps(A)), "change")
    first, second = seen(field, 0.2), seen(field, 0.6)
    a = torch.tensor(A)
    torch.testing.assert_close(first[0], (0.8 * (a - a.mean())).square())
    torch.testing.assert_close(second[1], (0.4 * a).square())
    mixed = pf.PatchTime.two_level(torch.eye(4)[:2] > 0, 0.9, 0.6)
    assert torch.equal(field(X, mixed).difficulty, second)
    torch.testing.assert_close(seen(field, 0.7)[0], (0.1 * a).square())
    torch.testing.assert_close(seen(field, 0.2), first)  # another run


def test_gap_is_what_guidance_adds_and_lasts_when_it_ends():
    guidance = pf.ClassifierFreeGuidance(3.0, interval=(0.0, 0.5))
    guided = pf.VelocityField(Steps(A, b=0.5), torch.tensor([1, 2]), guidance)
    field = hosts.with_difficulty(guided, "gap")
    # v = v_0 + 3·(v_c − v_0) with v_0 = v_c/2: twice v_c, so that it adds v_c
    gap = torch.tensor(A).square().expand(2, -1)
    torch.testing.assert_close(seen(field, 0.2), gap)
    torch.testing.assert_close(seen(field, 0.6), gap)
    with pytest.raises(pf.UserError, match=r"give the field one, .* from t = 0 on"):
        seen(hosts.with_difficulty(pf.VelocityField(Steps(A)), "gap"), 0.0)


@pytest.mark.parametrize("proxy", ["change", "spread"])
@pytest.mark.parametrize("name", ["DualLoopSampler", "LookAheadSampler"])
def test_samplers_order_patches_by_a_proxy_and_every_run_is_the_same(proxy, name):
    sampler = getattr(pf.samplers, name)()
    bare = pf.VelocityField(Steps(A))
    x_0 = torch.randn(2, 3, 4, 4)
    with pytest.raises(pf.UserError, match="predicts no difficulty"):
        sampler(bare, x_0, GRID)
    field = hosts.with_difficulty(bare, proxy)
    results = [sampler(field, x_0, GRID, trace=True) for _ in range(2)]
    assert torch.equal(results[0].x_1, results[1].x_1)
    mixed = next(seen for seen in results[0].trace if (seen.t != seen.t[:, :1]).any())
    moved = mixed.t > mixed.t.amin(dim=1, keepdim=True)
    assert (moved.sum(dim=1) == 1).all()  # ⌊0.4·4⌋
    if proxy == "spread":  # the patch whose velocity is 0
        assert moved[:, 3].all()


def test_kept_patches_stay_kept():
    strength = torch.tensor([0.0, 1.0, 1.0, 1.0])
    original = torch.randn(1, 3, 4, 4)
    edit = EditMap(original, strength, torch.zeros(1, 1, 4, 4, dtype=torch.bool), 2)
    inner = EditField(pf.VelocityField(Steps(A)), edit)
    field = hosts.with_difficulty(inner, "change")
    assert isinstance(field, KeepingField)
    assert torch.equal(field.kept, strength == 0)
    assert field.num_kept == 1
    result = pf.samplers.DualLoopSampler(0.5)(field, torch.randn(2, 3, 4, 4), GRID)
    assert torch.equal(
        edit.finished(result.x_1)[:, :, :2, :2], original[..., :2, :2].repeat(2, 1, 1, 1)
    )
    assert not isinstance(hosts.with_difficulty(pf.VelocityField(Steps(A)), "change"), KeepingField)


def test_names_and_own_proxies():
    with pytest.raises(pf.UserError, match="did you mean 'change'"):
        hosts.with_difficulty(pf.VelocityField(Steps(A)), "chang")
    own = hosts.with_difficulty(pf.VelocityField(Steps(A)), lambda *seen: seen[1].to_dense())
    assert torch.equal(seen(own, 0.25), torch.full((2, 4), 0.25))


class Blind:
    """Takes all data for 0. Its error is x_1/(1 − t), so that wide patches are hard. Its head says
    one thing of all.
    """

    patch_size = 2

    def __call__(self, x_t, t, condition=None):
        left = 1 - pf.spread(t.to_dense(), x_t.shape[-2:], 2)
        return pf.ModelOutput(-x_t / left, torch.zeros_like(x_t[:, :1]))


def data():
    width = pf.spread(torch.tensor([[0.1, 0.5, 1.0, 2.0]]), (4, 4), 2)
    return width * torch.randn(24, 3, 4, 4)


def test_a_report_says_what_a_proxy_is_worth_at_each_time():
    report = hosts.calibrate(Blind(), data(), bins=4, proxies=("spread", "head"))
    proxies = report.record["proxies"]
    assert list(proxies) == ["spread", "head"]
    early, *_, late = proxies["spread"]["by_time"]
    assert late["rank_correlation"]["value"] > 0.85 > early["rank_correlation"]["value"]
    assert late["rank_correlation"]["low"] > 0.7
    assert proxies["spread"]["dead"] is None
    assert "predicts the same for all patches" in proxies["head"]["dead"]
    assert report.warnings == [f"head: {proxies['head']['dead']}"]
    lines = report.markdown().splitlines()
    assert lines[0] == "| t | squared error | spread | head |"
    assert len(lines) == 7


def test_the_step_before_is_where_the_models_own_velocity_leads_back_to():
    """On the path, it would be where the true one does: a change would hold the error itself."""

    class Recording(Steps):
        def __call__(self, x_t, t, condition=None):
            output = super().__call__(x_t, t, condition)
            calls.append((x_t, t.values[:, 0], output.velocity))
            return output

    calls = []
    hosts.calibrate(Recording(A), torch.randn(3, 3, 4, 4), bins=2, step=0.1)
    assert len(calls) == 2 * 2
    for (x, t, v), (before, earlier, _) in zip(calls[::2], calls[1::2], strict=True):
        torch.testing.assert_close(earlier, (t - 0.1).clamp(min=0))
        torch.testing.assert_close(before, x - (t - earlier)[:, None, None, None] * v)


def test_a_report_depends_on_no_batch_and_is_written(tmp_path):
    model, x_1 = IndependentGaussian(), 0.6 * torch.randn(5, 1, 8, 8)
    reports = [hosts.calibrate(model, x_1, bins=3, batch_size=size) for size in (2, 5)]
    first, second = (report.record["proxies"] for report in reports)
    assert list(first) == ["head", "change", "spread", "contrast"]
    for name, row in first.items():
        assert row["overall"]["true"] == pytest.approx(second[name]["overall"]["true"])
    reports[0].save(tmp_path / "proxies.json")
    assert '"kind": "proxies"' in (tmp_path / "proxies.json").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"proxies": ("chang",)}, "did you mean 'change'"),
        ({"proxies": ()}, "name one"),
        ({"proxies": ("head",)}, "the model predicts no difficulty"),
        ({"proxies": ("gap",)}, "without guidance"),
        ({"step": 0}, "step=0 is out of range"),
    ],
)
def test_what_cannot_be_reported_is_named(options, message):
    with pytest.raises(pf.UserError, match=message):
        hosts.calibrate(Steps(A), data(), **options)
