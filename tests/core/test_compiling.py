"""Functions compiled whole."""

import pytest
import torch

from patch_forcing.core.compiling import compiled


class Chain:
    """Something with much to keep for its backward pass."""

    def __init__(self):
        self.linear = torch.nn.Linear(64, 64)

    def loss(self, x):
        return torch.nn.functional.gelu(self.linear(x)).sin().exp().sum()


# torch's own, where its compiler is loaded
@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")
def test_the_same_function_with_another_share_is_another_graph():
    x, kept = torch.randn(256, 64), []

    def pack(tensor):
        kept[-1] += tensor.numel()
        return tensor

    for share in (1.0, 0.3, 1.0):
        chain = Chain()
        kept.append(0)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = compiled(chain.loss, share)(x)
        (found,) = torch.autograd.grad(loss, chain.linear.weight)
        (expected,) = torch.autograd.grad(chain.loss(x), chain.linear.weight)
        torch.testing.assert_close(found, expected)
    assert kept[1] < 0.7 * kept[0] == 0.7 * kept[2]


def test_what_cannot_be_one_graph_is_an_error():
    def waits(x):
        return x + 1 if x.sum() > 0 else x

    with pytest.raises(torch._dynamo.exc.Unsupported):
        compiled(waits)(torch.ones(3))
