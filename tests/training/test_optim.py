"""Warm-up, and steps as torch's AdamW and Muon take them."""

import pytest
import torch
from torch import nn

import patch_forcing as pf
from patch_forcing.training.muon import Muon
from patch_forcing.training.optim import build_optimizers, take_step
from patch_forcing.training.options import OptimizerConfig


def test_learning_rate_rises_linearly_then_stays():
    config = OptimizerConfig(lr=2.0, warmup_steps=3)
    assert [config.lr_at(step, 7) for step in range(7)] == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0, 2.0]
    assert OptimizerConfig(lr=2.0, warmup_steps=0).lr_at(0, 1) == 2.0


def test_learning_rate_falls_linearly_over_the_last_steps():
    config = OptimizerConfig(lr=2.0, warmup_steps=1, decay_share=0.375)
    assert [config.lr_at(step, 8) for step in range(8)] == [1, 2, 2, 2, 2, 1.5, 1, 0.5]
    short = OptimizerConfig(lr=2.0, warmup_steps=3, decay_share=0.75)
    assert [short.lr_at(step, 4) for step in range(4)] == [0.5, 1.0, 1.0, 0.5]


def test_a_step_is_adamw_with_that_learning_rate():
    ours, theirs = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    config = OptimizerConfig(lr=0.1, warmup_steps=1, weight_decay=0.01, betas=(0.8, 0.9))
    optimizers = build_optimizers(config, [ours])
    oracle = torch.optim.AdamW([theirs], lr=1.0, weight_decay=0.01, betas=(0.8, 0.9))
    for step in range(4):
        for weight in (ours, theirs):
            (weight * torch.tensor([1.0, -2.0, 3.0])).square().sum().backward()
        take_step(optimizers, config.lr_at(step, 4))
        oracle.param_groups[0]["lr"] = 0.05 if step == 0 else 0.1
        oracle.step()
        oracle.zero_grad()
        torch.testing.assert_close(ours, theirs)
        assert ours.grad is None


def test_muon_takes_the_matrices_and_adamw_the_rest():
    torch.manual_seed(0)
    start = [
        torch.randn(4, 6),
        torch.randn(5),
        torch.randn(3, 4),
    ]  # a hidden matrix, a bias, a table
    ours = [nn.Parameter(tensor.clone()) for tensor in start]
    theirs = [nn.Parameter(tensor.clone()) for tensor in start]
    config = OptimizerConfig("muon", lr=0.1, warmup_steps=0, betas=(0.8, 0.9), weight_decay=0.3)
    optimizers = build_optimizers(config, ours, matrices=[ours[0]])
    muon = torch.optim.Muon([theirs[0]], lr=0.1, weight_decay=0.3, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(theirs[1:], lr=0.1, weight_decay=0.3, betas=(0.8, 0.9))
    for _ in range(3):
        for weights in (ours, theirs):
            sum(weight.sin().square().sum() for weight in weights).backward()
        take_step(optimizers, config.lr_at(0, 3))
        for oracle in (muon, adamw):
            oracle.step()
            oracle.zero_grad()
        torch.testing.assert_close(ours[0], theirs[0], rtol=0, atol=3e-3)
        for mine, his in zip(ours[1:], theirs[1:], strict=True):
            torch.testing.assert_close(mine, his)


@pytest.mark.parametrize("lr", [0.1, torch.tensor(0.1)])
@pytest.mark.parametrize("weight_decay", [0.0, 0.2])
def test_muon_is_torch_s_whatever_the_shapes(lr, weight_decay):
    torch.manual_seed(0)
    shapes = [(8, 8), (24, 8), (8, 32), (32, 8), (24, 8), (8, 8), (1, 5)]
    ours = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [nn.Parameter(weight.detach().clone()) for weight in ours]
    muon = Muon(ours, lr=0.1, weight_decay=weight_decay)
    oracle = torch.optim.Muon(
        theirs, lr=0.1, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    for step in range(4):
        for mine, his in zip(ours, theirs, strict=True):
            mine.grad = torch.randn(mine.shape) * 10.0 ** (step - 2)
            his.grad = mine.grad.clone()
        take_step([muon], lr)
        oracle.step()
        for mine, his in zip(ours, theirs, strict=True):
            # products of bf16 are summed in another order
            torch.testing.assert_close(mine, his, rtol=0, atol=3e-3)
            torch.testing.assert_close(
                muon.state[mine]["momentum_buffer"], oracle.state[his]["momentum_buffer"]
            )


def test_muon_leaves_weights_without_a_gradient_alone():
    weights = [nn.Parameter(torch.ones(3, 4)) for _ in range(2)]
    weights[1].grad = torch.rand(3, 4)
    take_step([Muon(weights, lr=0.1)], 0.1)
    assert weights[0].equal(torch.ones(3, 4))
    assert not weights[1].equal(torch.ones(3, 4))


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_skipped_step_changes_nothing(name):
    torch.manual_seed(0)
    weights = [nn.Parameter(torch.randn(3, 4)), nn.Parameter(torch.randn(3, 4))]
    optimizers = build_optimizers(
        OptimizerConfig(name=name, weight_decay=0.5), weights, weights[:1]
    )

    def everything() -> list[torch.Tensor]:
        result = [state for o in optimizers for state in o.state_dict()["state"].values()]
        state = [tensor for one in result for tensor in one.values()]
        return [tensor.detach().clone() for tensor in (*weights, *state)]

    for bad in (False, True, False, True):
        before = everything()
        for weight in weights:
            weight.grad = torch.full_like(weight, float("nan") if bad else 0.3)
        take_step(optimizers, 0.1, torch.tensor(float(bad)))
        after = everything()
        if bad:
            assert all(a.equal(b) for a, b in zip(after, before, strict=True))
        else:
            assert not any(a.equal(b) for a, b in zip(after, before, strict=len(before) > 2))


def test_adamw_takes_the_matrices_too_unless_muon_is_chosen():
    weights = [nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))]
    (adamw,) = build_optimizers(OptimizerConfig(), weights, matrices=weights[:1])
    assert adamw.param_groups[0]["params"] == weights


@pytest.mark.parametrize(
    "wrong",
    [
        {"lr": 0.0},
        {"lr": float("nan")},
        {"clip_norm": -1.0},
        {"betas": (0.9, 1.0)},
        {"weight_decay": -0.1},
        {"warmup_steps": -1},
        {"decay_share": 1.1},
    ],
)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(pf.UserError, match=next(iter(wrong))):
        OptimizerConfig(**wrong)
