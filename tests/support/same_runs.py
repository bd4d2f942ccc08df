"""What two training runs, or two batches, are compared by."""

import json

import torch
from safetensors.torch import load_file


def tensors(checkpoint):
    return {
        f"{file.relative_to(checkpoint)}/{name}": tensor
        for file in sorted(checkpoint.rglob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }


def assert_same(one, other):
    one, other = tensors(one), tensors(other)
    assert one.keys() == other.keys()
    assert all(one[name].equal(other[name]) for name in one)


def without_key_bias(weights):
    """Weights by name, with the bias of keys zero: it moves all scores of a query alike, so that
    its gradient is what rounding left, whose sign AdamW follows.
    """
    changed = dict(weights)
    for name in changed:
        if name.endswith("attn.qkv.bias"):
            bias = changed[name] = changed[name].clone()
            bias.view(3, -1)[1] = 0
    return changed


def assert_close(one, other):
    """Of weights by name, but for the bias of keys."""
    assert one.keys() == other.keys()
    one, other = without_key_bias(one), without_key_bias(other)
    for name in one:
        assert torch.allclose(one[name], other[name], atol=1e-4), name


def losses(run):
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [(row["step"], row["total"]) for row in map(json.loads, lines)]


def same_batches(one, other):
    """Whether images and conditions are bitwise the same."""
    return one.x_1.equal(other.x_1) and one.condition.equal(other.condition)
