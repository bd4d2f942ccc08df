"""Weights of which each rank holds some rows (FSDP2): for models that outgrow one GPU.

A rank gathers the weights of a block when it comes to it, and forgets them; of the gradients it is
left with its own rows. Optimizers and averages work on a rank's rows, as plain tensors.
"""

import warnings
from collections.abc import Iterable
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Shard

from patch_forcing.core.compiling import compiled_in_training
from patch_forcing.models.dit import PatchDiT
from patch_forcing.models.layers import Block

_SMALL_SHARE = 0.05
"""Of a GPU's memory. XL/2 in bf16 is 1.7 % of 80 GB."""


def rank_mesh(device: torch.device) -> DeviceMesh:
    """All ranks in a row."""
    return init_device_mesh(device.type, (dist.get_world_size(),))


def shard_(
    model: PatchDiT,
    mesh: DeviceMesh,
    *,
    bf16: bool = False,
    compile: bool = False,
    keep: bool = False,
) -> None:
    """Keep this rank's rows of every weight, on its device; a block comes there at a time.

    bf16: blocks are gathered in it, half the bytes: autocast would make the same of each weight
    just before its product, so that the numbers are those of a model that is not sharded (compiled,
    but for the rounding of an MLP's first bias). What is around the blocks stays fp32, since
    autocast takes embeddings and sums as they are.
    compile: blocks one by one, since gathering is not part of a graph; the first one's serves all.
    keep: what a forward pass gathered, until the backward pass, which else gathers it again.
    Gradients are summed in fp32.
    """
    half = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
    plain = MixedPrecisionPolicy(cast_forward_inputs=False)
    if compile:
        forward = compiled_in_training(Block.forward)
        for block in model.blocks:
            block.forward = partial(forward, block)  # type: ignore[arg-type]
        end = model.final_layer
        end.forward = compiled_in_training(end.forward)  # type: ignore[method-assign]
    for block in model.blocks:
        policy = half if bf16 else plain
        fully_shard(block, mesh=mesh, mp_policy=policy, reshard_after_forward=not keep)
    fully_shard(model, mesh=mesh, mp_policy=plain)
    # nobody changes what the model returns in place
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view", UserWarning)
    for module in model.modules():
        if isinstance(module, FSDPModule):  # a sum: the loss already carries its rank's share
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)


def whole_is_small(model: PatchDiT, device: torch.device, *, bf16: bool) -> bool:
    """Whether all blocks gathered take so little of a GPU that they may stay for a while."""
    if device.type != "cuda":
        return False
    numbers = sum(weight.numel() for weight in model.blocks.parameters())
    memory = torch.cuda.get_device_properties(device).total_memory
    return numbers * (2 if bf16 else 4) < _SMALL_SHARE * memory


def is_sharded(model: nn.Module) -> bool:
    """Whether `shard_` was here."""
    return isinstance(model, FSDPModule)


def forget_gathered(model: nn.Module) -> None:
    """After a forward pass without a backward pass, for which gathered weights were kept."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def own_part(weight: nn.Parameter) -> nn.Parameter:
    """A rank's own rows, sharing memory with the weight; the weight itself if it is not sharded."""
    if not isinstance(weight, DTensor):
        return weight
    part: nn.Parameter | None = getattr(weight, "own_part", None)
    if part is None:
        part = nn.Parameter(weight.to_local().detach(), requires_grad=weight.requires_grad)
        part.whole_shape = weight.shape  # type: ignore[attr-defined]  # which Muon asks for
        weight.own_part = part  # type: ignore[attr-defined]
    return part


def take_gradients(weights: Iterable[nn.Parameter]) -> None:
    """Hand the gradient of each sharded weight to its part."""
    for weight in weights:
        gradient = weight.grad
        if isinstance(gradient, DTensor):
            own_part(weight).grad = gradient.to_local()
            weight.grad = None


def seen_whole(part: Tensor, weight: Tensor) -> Tensor:
    """Rows that belong to a weight as one tensor over all ranks; as they are if they have no shape
    of it, such as a count of steps.
    """
    if not isinstance(weight, DTensor) or part.shape != weight.to_local().shape:
        return part
    return DTensor.from_local(
        part,
        weight.device_mesh,
        weight.placements,
        run_check=False,
        shape=weight.shape,
        stride=weight.stride(),
    )


class WholeMatrices:
    """Stacks of matrices of which each rank has some rows: put together, and cut again."""

    def __init__(self, mesh: DeviceMesh):
        self._mesh = mesh

    def gather(self, parts: Tensor, rows: int) -> Tensor:
        """(n, own rows, b) → (n, rows, b), the same on all ranks."""
        count, _, cols = parts.shape
        shape = torch.Size((count, rows, cols))
        stride = (rows * cols, cols, 1)
        whole = DTensor.from_local(
            parts.contiguous(),
            self._mesh,
            [Shard(1)],
            run_check=False,
            shape=shape,
            stride=stride,
        )
        return whole.full_tensor()

    def own(self, whole: Tensor) -> Tensor:
        """(n, rows, b) → (n, own rows, b), as FSDP2 cuts: the first ranks have more."""
        chunks = whole.chunk(self._mesh.size(), dim=1)
        rank = self._mesh.get_local_rank()
        return chunks[rank] if rank < len(chunks) else whole[:, :0]
