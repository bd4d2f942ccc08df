"""What two training runs are compared by."""

import json

from safetensors.torch import load_file


def tensors(checkpoint):
    return {
        f"{file.parent.name}/{file.name}/{name}": tensor
        for file in sorted(checkpoint.rglob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }


def assert_same(one, other):
    one, other = tensors(one), tensors(other)
    assert one.keys() == other.keys()
    assert all(one[name].equal(other[name]) for name in one)


def losses(run):
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [(row["step"], row["total"]) for row in map(json.loads, lines)]
