"""What the registry knows of its samplers, and what messages say of it."""

import re

import pytest
import torch

import patch_forcing as pf
from patch_forcing.core.registry import build
from patch_forcing.sampling.compat import as_published
from patch_forcing.sampling.grids import uniform_grid
from patch_forcing.sampling.guidance import SCHEDULES
from patch_forcing.sampling.names import OF_PAPER, SAMPLER_NAMES, SCHEDULE_NAMES, listed
from patch_forcing.sampling.sampler import Sampler
from patch_forcing.sampling.samplers import SAMPLERS, check_difficulty, usual_calls
from tests.support.exact import tiny_dit

NEEDY = {"dual-loop", "look-ahead", "multirate"}
PUBLISHED = "euler, random-order, dual-loop or look-ahead"


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_is_one_without_options(name):
    assert isinstance(SAMPLERS[name](), Sampler)


@pytest.mark.parametrize("spec", [*SAMPLERS, "multirate:rates=1,shares=1", "multirate:rank=random"])
def test_samplers_that_order_patches_by_difficulty_need_it(spec):
    sampler = build("sampler", SAMPLERS, spec)
    field = pf.VelocityField(tiny_dit(predict_difficulty=False))
    needs = spec in NEEDY
    assert sampler.needs_difficulty == needs
    check_difficulty(sampler, predicted=True)

    def run():
        generator = torch.Generator().manual_seed(0)
        return sampler(
            field, torch.randn(2, 3, 8, 8), uniform_grid(4), generator=generator, trace=True
        )

    if not needs:
        check_difficulty(sampler, predicted=False)
        result = run()
        assert (result.t == 1).all()
        assert {record.difficulty for record in result.trace} == {None}
        return
    with pytest.raises(pf.UserError, match=r"predicts no difficulty.*needs_difficulty"):
        run()
    with pytest.raises(pf.UserError) as caught:
        check_difficulty(sampler, predicted=False)
    named = re.fullmatch(
        rf".* which {spec} orders patches by: sample with (.*) or (.*)",
        str(caught.value),
    )
    assert {*named[1].split(", "), named[2]} == set(SAMPLERS) - NEEDY


def test_compat_names_the_samplers_of_the_paper():
    with pytest.raises(pf.UserError, match=f"choose the sampler {PUBLISHED}$"):
        as_published(pf.samplers.HeunSampler(), None)


@pytest.mark.parametrize(
    ("spec", "order"),
    [
        *((name, 1) for name in ("euler", "euler-maruyama", "random-order", "dual-loop")),
        *((name, 2) for name in ("adams-bashforth", "heun", "multirate", "adaptive")),
        ("look-ahead", 1),
        ("multirate:order=1", 1),
    ],
)
def test_samplers_of_second_order_take_half_as_many_evaluations(spec, order):
    sampler = build("sampler", SAMPLERS, spec)
    assert sampler.order == order
    assert usual_calls(sampler) == 48 / order


def test_names_in_a_sentence():
    assert listed(["heun"]) == "heun"
    assert listed(["heun", "euler"], "and") == "heun and euler"
    assert listed(["heun", "euler", "adaptive"]) == "heun, euler or adaptive"


def test_names_that_are_known_early_are_those_of_the_registries():
    assert tuple(SAMPLERS) == SAMPLER_NAMES
    assert tuple(SCHEDULES) == SCHEDULE_NAMES
    assert {name for name, sampler in SAMPLERS.items() if sampler.of_paper} == set(OF_PAPER)
