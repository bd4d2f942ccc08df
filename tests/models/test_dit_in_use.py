"""PatchDiT as trainers and samplers use it: optimizers, recomputation, kernels, nodes of time."""

import dataclasses

import pytest
import torch
from torch import Tensor, nn

import patch_forcing as pf
from patch_forcing.models.embeddings import PatchEmbedder, strided_product
from patch_forcing.models.linear_gelu import is_plain
from tests.support.exact import all_channels, inputs, tiny_dit


def test_hidden_matrices_are_the_blocks_linear_weights():
    model = pf.PatchDiT(pf.PatchDiTConfig(input_size=4, hidden_size=8, depth=2, num_heads=2))
    names = {id(weight): name for name, weight in model.named_parameters()}
    matrices = [names[id(weight)] for weight in model.hidden_matrices()]
    layers = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2", "adaLN_modulation.1")
    assert matrices == [f"blocks.{i}.{layer}.weight" for i in range(2) for layer in layers]


@pytest.mark.parametrize("what", ["gelu", "cheap", "all"])
def test_activations_computed_again_give_the_same_gradients_out_of_less_memory(what):
    model = tiny_dit(depth=4).train()
    x, labels = inputs(model)
    time = pf.PatchTime(torch.rand(3, 4), torch.randint(4, (3, model.config.num_patches)))
    gradients, kept = [], []
    for again in ("none", what):
        model.recompute_activations = again
        count = 0

        def keep(tensor: Tensor) -> Tensor:
            nonlocal count
            count += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = all_channels(model(x, time, labels)).square().mean()
        gradients.append(torch.autograd.grad(loss, list(model.parameters())))
        kept.append(count)
    assert all(one.equal(other) for one, other in zip(*gradients, strict=True))
    assert kept[1] < kept[0] / 3  # the hooks do not see the products that are kept


@torch.no_grad()
def test_a_network_that_trains_samples_as_one_that_does_not():
    model = tiny_dit(depth=2)
    x, labels = inputs(model)
    sampler, grid = pf.samplers.DualLoopSampler(evaluate="moving"), [0.0, 0.4, 1.0]
    expected = sampler(pf.VelocityField(model.eval(), labels), x, grid).x_1
    model.train().recompute_activations = "all"
    assert sampler(pf.VelocityField(model, labels), x, grid).x_1.equal(expected)


def test_only_a_layer_that_is_nothing_else_is_taken_apart():
    class Adapted(nn.Linear):
        pass

    hooked = nn.Linear(2, 2)
    hooked.register_forward_hook(lambda *_: None)
    assert is_plain(nn.Linear(2, 2))
    assert not is_plain(hooked)
    assert not is_plain(Adapted(2, 2))


@pytest.mark.parametrize("name", ["digits", pytest.param("emoji-64", marks=pytest.mark.slow)])
def test_conditions_between_nodes_are_those_of_each_time_in_trained_networks(name):
    model = pf.load(name).model.double()
    grid = model.config.grid
    size = [4 * side * model.patch_size for side in grid]  # more patches than times at the nodes
    wider = dataclasses.replace(model.config, input_size=(size[0], size[1]))
    larger = pf.PatchDiT(wider).double()
    larger.load_state_dict(model.state_dict())
    random = torch.Generator().manual_seed(0)
    x = torch.randn(1, wider.in_channels, *size, generator=random, dtype=torch.float64)
    labels = torch.tensor([1])
    time = pf.timesteps.LogitNormalTruncatedGaussian()(1, wider.num_patches, generator=random)
    weights = list(larger.parameters())
    results = []
    for nodes in (0, 16):
        larger.time_nodes = nodes
        out = larger(x, time, labels)
        gradients = torch.autograd.grad(out.velocity.square().mean(), weights)
        results.append([out.velocity, out.logvar, *gradients])
    for exact, result in zip(*results, strict=True):
        assert (result - exact).norm() <= 3e-6 * exact.norm()  # bf16 rounds at 4e-3


@pytest.mark.parametrize(("channels", "size", "patch_size"), [(3, (8, 12), 4), (2, (4, 4), 1)])
def test_patches_of_the_gpu_are_those_of_the_convolution(channels, size, patch_size):
    embed = PatchEmbedder(channels, 16, patch_size)
    x = torch.randn(2, channels, *size)
    torch.testing.assert_close(strided_product(x, embed.proj), embed(x))
