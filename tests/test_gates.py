"""What no noise can move: reads that make a GPU wait, graphs compiled, breaks in graphs."""

import json

import pytest
import torch

from tests.scripts.compiled_sampling import FEWER, GRAPHS, GUIDANCE, sample
from tests.support.exact import tiny_dit
from tests.support.scripts import run_script
from tests.support.waits import waits


def test_waits_are_counted():
    x = torch.arange(3.0)
    assert waits(lambda: x + 1) == 0
    assert waits(lambda: x.sum().item()) == 1
    assert waits(lambda: bool((x > 1).any())) == 1
    assert waits(lambda: x[x > 1]) == 1


@pytest.mark.parametrize(
    "sampler",
    [
        "euler",
        "heun",
        "euler-maruyama",
        "dual-loop",
        "look-ahead",
        "random-order",
        "dual-loop:evaluate=moving,refresh=2",
        "multirate:rates=1/2/4,shares=0.5/0.25/0.25",
    ],
)
@pytest.mark.parametrize("guidance", GUIDANCE)
def test_a_sampling_run_waits_once_for_its_labels_and_then_not_before_its_end(sampler, guidance):
    # there the flags of all steps are read at once, by tolist, which is no operation on a CPU
    model = tiny_dit()
    for steps in (1, 5):
        assert waits(lambda n=steps: sample(model, sampler, n, GUIDANCE[guidance])) == 1


def test_where_patches_choose_a_run_waits_once_a_step_besides():
    # to learn how many of them are left; the first three steps are all patches'
    model = tiny_dit()
    for steps in (3, 5):
        actual = waits(lambda n=steps: sample(model, "adaptive", n, None))
        assert actual == 1 + max(0, steps - 3)


@pytest.mark.slow
@pytest.mark.parametrize("cases", [FEWER, [*GRAPHS]])
def test_sampling_compiles_one_graph_a_shape_and_never_again_and_a_step_of_training_compiles(cases):
    # in a process of its own: the type checks of the tests cannot be compiled
    result = json.loads(run_script("compiled_sampling", *cases))
    assert result["training"]
    assert result["sampling"] == {
        case: {"same": True, "graphs": GRAPHS[case], "more_for_more_steps": 0} for case in cases
    }
