"""Functions compiled whole."""

import pytest
import torch

from patch_forcing.core.compiling import compiled


def test_what_cannot_be_one_graph_is_an_error():
    def waits(x):
        return x + 1 if x.sum() > 0 else x

    with pytest.raises(torch._dynamo.exc.Unsupported):
        compiled(waits)(torch.ones(3))
