"""Choices written as text, and the mend for every way to write them wrong."""

from dataclasses import dataclass

import pytest

import patch_forcing as pf
from patch_forcing.core.registry import build


@dataclass(frozen=True)
class Plain:
    """No options at all."""


@dataclass(frozen=True)
class Clock:
    rate: float = 1.0
    hands: int = 2
    loud: bool = False
    levels: int | None = 8
    start_time: float = 0.0
    tune: str = "none"

    def __post_init__(self):
        if self.rate <= 0:
            raise pf.UserError(f"Clock: rate={self.rate}: choose a number above 0")


CLOCKS = {"plain": Plain, "clock": Clock}


def clock(options):
    return build("clock kind", CLOCKS, f"clock:{options}")


def test_a_name_alone_has_the_defaults():
    assert build("clock kind", CLOCKS, "plain") == Plain()
    assert build("clock kind", CLOCKS, "clock") == clock("") == Clock()


def test_options_are_set_and_typed():
    made = clock("rate=2.5,hands=3,loud=true,levels=4,start-time=-1e-3")
    assert made == Clock(2.5, 3, True, 4, -1e-3)
    assert [type(made.rate), type(made.hands), type(made.loud)] == [float, int, bool]


def test_a_whole_number_suits_a_float():
    assert type(clock("rate=3").rate) is float


def test_spaces_around_options_do_not_matter():
    assert clock(" rate = 2 , hands = 1 ") == Clock(2.0, 1)


def test_words_stay_as_they_are():
    assert clock("tune=Westminster Quarters, hands=1") == Clock(
        hands=1, tune="Westminster Quarters"
    )


@pytest.mark.parametrize("text", ["none", "None"])
def test_none_where_the_field_allows_it(text):
    assert clock(f"levels={text}").levels is None


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("True", True), ("false", False), ("False", False)]
)
def test_switches(text, value):
    assert clock(f"loud={text}").loud is value


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("clok", ["clock kind", "'clok'", "did you mean 'clock'"]),
        ("zzzz", ["clock kind", "'zzzz'", "known: clock, plain"]),
        ("", ["clock kind", "known: clock, plain"]),
        ("clock:rat=1", ["clock kind clock", "'rat'", "did you mean 'rate'"]),
        ("clock:qqqq=1", ["'qqqq'", "known: hands, levels, loud, rate, start_time"]),
        ("clock:rate", ["clock kind clock", "'rate' has no value", "rate=VALUE"]),
        ("clock:rate=", ["rate=''", "float"]),
        ("clock:rate=fast", ["clock kind clock: rate='fast'", "float"]),
        ("clock:rate=none", ["rate='none'", "float"]),
        ("clock:hands=2.5", ["hands='2.5'", "int"]),
        ("clock:hands=none", ["hands='none'", "int"]),
        ("clock:levels=many", ["levels='many'", "int | None"]),
        ("clock:loud=1", ["loud='1'", "bool"]),
        ("clock:rate=-1", ["Clock: rate=-1.0", "above 0"]),
        ("clock:rate=1=2", ["rate='1=2'", "float"]),
    ],
)
def test_a_wrong_spec_is_refused_with_its_mend(spec, words):
    with pytest.raises(pf.UserError) as refused:
        build("clock kind", CLOCKS, spec)
    for word in words:
        assert word in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_option_given_twice_is_refused():
    with pytest.raises(pf.UserError, match="rate"):
        clock("rate=1,rate=2")


def test_an_option_for_a_choice_without_any_is_refused():
    with pytest.raises(pf.UserError, match=r"option of clock kind plain 'rate'"):
        build("clock kind", CLOCKS, "plain:rate=1")


@pytest.mark.parametrize(
    ("spec", "made"),
    [
        ("shared-uniform", pf.timesteps.SharedUniform()),
        ("shared-logit-normal:loc=-1,scale=2", pf.timesteps.SharedLogitNormal(-1, 2)),
        ("independent-uniform", pf.timesteps.IndependentUniform()),
        ("mean-controlled:sharpness=4", pf.timesteps.MeanControlled(4)),
        ("tg:std=0.1", pf.timesteps.TruncatedGaussian(0.1)),
        ("ltg", pf.timesteps.LogitNormalTruncatedGaussian()),
        ("ltg:loc=0.5,levels=8", pf.timesteps.LogitNormalTruncatedGaussian(loc=0.5, levels=8)),
        ("ltg:levels=none", pf.timesteps.LogitNormalTruncatedGaussian(levels=None)),
    ],
)
def test_timestep_distributions_by_name(spec, made):
    assert build("timesteps", pf.timesteps.TIMESTEPS, spec) == made
