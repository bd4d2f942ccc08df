"""What is remembered of tokens that are not computed."""

import torch
from hypothesis import given
from hypothesis import strategies as st

import patch_forcing as pf
from patch_forcing.core.active import CarriedMemory, Memory, token_index

TOKENS = 6


def line(t: torch.Tensor, copies: int) -> torch.Tensor:
    """(B, N) → (copies·B, N, 2, 3): for every token, copy and place another line in t."""
    random = torch.Generator().manual_seed(0)
    shape = (copies * len(t), TOKENS, 2, 3)
    start, rate = (torch.randn(shape, generator=random, dtype=torch.float64) for _ in range(2))
    return start + rate * t.repeat(copies, 1)[:, :, None, None]


@given(
    times=st.lists(st.floats(0.01, 0.2), min_size=2, max_size=6),
    masks=st.lists(st.integers(1, 2**TOKENS - 1), min_size=6, max_size=6),
    copies=st.integers(1, 2),
    nested=st.booleans(),
)
def test_what_changes_along_a_line_is_carried_on_exactly(times, masks, copies, nested):
    """Whichever tokens are computed in between, of one prediction or two, of one model or two."""
    memory, now = CarriedMemory(), 0.0

    def at(t: float) -> torch.Tensor:
        return line(torch.full((2, TOKENS), t, dtype=torch.float64), copies)

    def time(t: float) -> pf.PatchTime:
        return pf.PatchTime.shared(torch.full((2,), t, dtype=torch.float64), TOKENS)

    for step, length in enumerate(times):
        whole = step < 2
        if whole:
            memory.of_model = [[at(now)], [2 * at(now)]] if nested else [at(now), 2 * at(now)]
            memory.after(time(now), None)
        else:
            memory.before(time(now))
            leaves = [leaf for (leaf,) in memory.of_model] if nested else memory.of_model
            for leaf, factor in zip(leaves, (1, 2), strict=True):
                torch.testing.assert_close(leaf, factor * at(now), rtol=1e-8, atol=1e-8)
            bits = torch.tensor([masks[step] >> n & 1 for n in range(TOKENS)]).bool().expand(2, -1)
            memory.after(time(now), token_index(bits, int(bits[0].sum())))
        now += length


def test_after_one_evaluation_tokens_are_as_they_were_left():
    memory = CarriedMemory()
    memory.of_model = [torch.randn(2, TOKENS, 2, 3)]
    before = memory.of_model[0].clone()
    memory.after(pf.PatchTime.shared(torch.zeros(2), TOKENS), None)
    memory.before(pf.PatchTime.shared(torch.full((2,), 0.3), TOKENS))
    assert memory.of_model[0].equal(before)


def test_where_guidance_sets_in_what_was_known_of_one_prediction_is_forgotten():
    memory, t = CarriedMemory(), pf.PatchTime.shared(torch.zeros(2), TOKENS)
    memory.of_model = [torch.randn(2, TOKENS, 2, 3)]
    memory.after(t, None)
    memory.of_model = [torch.randn(4, TOKENS, 2, 3)]
    both = memory.of_model[0].clone()
    memory.after(pf.PatchTime.shared(torch.full((2,), 0.1), TOKENS), None)
    memory.before(pf.PatchTime.shared(torch.full((2,), 0.2), TOKENS))
    assert memory.of_model[0].equal(both)


def test_a_plain_memory_holds_what_it_was_given():
    memory, t = Memory(), pf.PatchTime.shared(torch.zeros(2), TOKENS)
    memory.of_model = [torch.randn(2, TOKENS, 2, 3)]
    kept = memory.of_model
    memory.after(t, None)
    memory.before(t)
    assert memory.of_model is kept
