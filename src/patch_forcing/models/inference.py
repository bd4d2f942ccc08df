"""A network made ready to be sampled from: its number type, and whether it is compiled."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from patch_forcing.core.active import ActiveTokens
from patch_forcing.core.compiling import compiled
from patch_forcing.core.errors import UserError
from patch_forcing.core.output import ModelOutput
from patch_forcing.core.time import PatchTime
from patch_forcing.models.conditions import Embedded
from patch_forcing.models.dit import PatchDiT
from patch_forcing.models.options import Precision
from patch_forcing.models.recorded import Recorded

Forward = Callable[..., ModelOutput]


def cast_weights(model: PatchDiT, precision: Precision) -> None:
    """Cast the weights of a network to what it computes in. Inputs and outputs keep their dtype.

    fp8: the linear layers of the blocks multiply in FP8 (e4m3), scaled for each row of weights and
    each token of input, by torchao; the rest is bf16, and so are the first and the last MLP, which
    make most of the error (docs/results/speed.md).
    Raises UserError if fp8 is asked for without torchao or a GPU that has it.
    """
    if precision == "fp8":
        _to_fp8(model)
    else:
        model.to(torch.float32 if precision == "fp32" else torch.bfloat16)


def compile_whole(model: PatchDiT) -> None:
    """Compile a network as one graph for each shape of its inputs.

    On a GPU, forward passes are also recorded and replayed (models/recorded.py).
    """
    # without tokens_after, which is for training alone
    forward = in_graphs(model.forward, compiled)
    if model.pos_embed.device.type == "cuda":
        forward = Recorded(forward)
    model.forward = forward  # type: ignore[method-assign]


def in_graphs(forward: Forward, compiler: Callable[..., Forward]) -> Forward:
    """`PatchDiT.forward`, compiled for each shape; packed tokens share one graph.

    Samplers that pack tokens have up to sixteen different numbers of them, and compiling takes
    seconds for each.
    """
    whole, packed = compiler(forward, dynamic=False), compiler(forward, dynamic=None)

    def either(
        x_t: Tensor,
        t: PatchTime | Tensor,
        condition: Tensor | Embedded | None = None,
        *,
        active: ActiveTokens | None = None,
    ) -> ModelOutput:
        if active is None or active.tokens is None or active.tokens.ndim == 2:
            return whole(x_t, t, condition, active=active)
        torch._dynamo.mark_dynamic(active.tokens, 0)
        return packed(x_t, t, condition, active=active)

    return either


def _to_fp8(model: PatchDiT) -> None:
    device = model.pos_embed.device
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 9):
        raise UserError(
            f"precision fp8 on {device}: choose bf16; it needs an NVIDIA GPU of compute capability "
            "8.9 or more (Ada, Hopper)"
        )
    quantize_to_fp8(model)


def quantize_to_fp8(model: PatchDiT) -> None:
    """Quantise the weights as `precision="fp8"` does, on any device.

    Raises UserError without torchao.
    """
    try:
        from torchao.quantization import (
            Float8DynamicActivationFloat8WeightConfig,
            PerRow,
            quantize_,
        )
    except ImportError:
        raise UserError(
            "precision fp8 needs torchao: pip install torchao, or choose bf16"
        ) from None
    model.to(torch.bfloat16)
    config = Float8DynamicActivationFloat8WeightConfig(granularity=PerRow())
    quantize_(model.blocks, config, filter_fn=partial(takes_fp8, depth=len(model.blocks)))


def takes_fp8(module: nn.Module, name: str, *, depth: int) -> bool:
    """Whether this part of the blocks multiplies in FP8: a layer of all tokens that errs little.

    Modulation is not: it is projected once per distinct time.
    """
    ends = ("0.mlp.", f"{depth - 1}.mlp.")
    return isinstance(module, nn.Linear) and "adaLN" not in name and not name.startswith(ends)
