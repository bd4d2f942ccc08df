"""What a step computes gradients of, and which weights go through the optimizer together."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from patch_forcing.core.output import ModelOutput
from patch_forcing.models.dit import PatchDiT
from patch_forcing.runs.state import TrainingState

Halves = dict[str, Tensor]
"""By the names of a model's weights, their copies in bf16."""


def half_weights(model: PatchDiT) -> Halves:
    """Copies, trained where the weights are, of those that autocast would cast in every step.

    Each is used once in a step, so its gradient in bf16 has the numbers that a cast would keep.
    """
    names = [f"{name}.weight" for name, part in model.named_modules() if type(part) is nn.Linear]
    weights = {name: model.get_parameter(name) for name in names}
    return {
        name: weight.detach().bfloat16().requires_grad_(weight.requires_grad)
        for name, weight in weights.items()
    }


def with_halves(model: PatchDiT, halves: Halves) -> Callable[..., ModelOutput]:
    """The model, computing from copies in place of its weights of their names."""

    def network(*inputs: Any, **options: Any) -> ModelOutput:
        output: ModelOutput = functional_call(model, halves, inputs, options)
        return output

    return network if halves else model


def gradient_leaves(state: TrainingState, halves: Halves) -> list[Tensor]:
    """Of each weight that is trained, itself or its copy: where its gradient arrives."""
    copies = {id(state.model.get_parameter(name)): half for name, half in halves.items()}
    return [copies.get(id(weight), weight) for weight in state.trained()]


def weight_groups(state: TrainingState, leaves: Sequence[Tensor]) -> list[list[int]]:
    """Places of what is trained: each block's, the rest of the model's, and that of terms.

    Weights with copies are apart from those without.
    """
    blocks = {id(w): n for n, block in enumerate(state.model.blocks) for w in block.parameters()}
    rest, terms = len(state.model.blocks), len(state.model.blocks) + 1
    groups = defaultdict(list)
    averaged = len(state.trained_of(state.model))
    for place, (weight, leaf) in enumerate(zip(state.trained(), leaves, strict=True)):
        part = blocks.get(id(weight), rest) if place < averaged else terms
        groups[part, leaf is weight].append(place)
    return list(groups.values())


def total_norm(gradients: Sequence[Tensor]) -> Tensor:
    """As torch's get_total_norm of the same gradients in fp32, whatever they are in."""
    norms: dict[int, Tensor] = {}
    for dtype in {gradient.dtype for gradient in gradients}:
        places = [k for k, gradient in enumerate(gradients) if gradient.dtype == dtype]
        alike = torch._foreach_norm([gradients[k] for k in places], dtype=torch.float32)
        norms.update(zip(places, alike, strict=True))
    return torch.linalg.vector_norm(torch.stack([norms[k] for k in sorted(norms)]))
