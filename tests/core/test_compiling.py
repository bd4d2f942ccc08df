"""Functions compiled whole."""

import pytest
import torch

from patch_forcing.core.compiling import compiled


def test_what_cannot_be_one_graph_is_an_error():
    def waits(x):
        return x + 1 if x.sum() > 0 else x

    with pytest.raises(torch._dynamo.exc.Unsupported):
        compiled(waits)(torch.ones(3))


def test_one_caller_leaves_room_for_the_next():
    def doubled(xs):
        return [x * 2 for x in xs]

    ones = torch.ones(2)
    with torch._dynamo.config.patch(recompile_limit=2):  # torch's own: 8, over all callers
        for _ in range(2):
            of_one_caller = compiled(doubled)
            for count in (1, 2):
                assert torch.stack(of_one_caller([ones] * count)).equal(torch.full((count, 2), 2.0))
