"""Bytes that a training step passes through memory beside products, as torch's compiler counts.

    python -m benchmarks.speed.traffic --out docs/results/traffic.json

Blocks of XL/2 at batch 128 on tensors without contents: each kernel of the code that inductor makes
for this GPU says what it reads and writes. Products, attention and the optimizer's pass have no
such count. "left to torch": the same network, what is kept for the backward pass as torch chooses.
"""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch._functorch.config as functorch
import torch._inductor.config as inductor
from torch._inductor.graph import GraphLowering
from torch._subclasses.fake_tensor import FakeTensorMode

import patch_forcing as pf
from benchmarks.common.options import command_line
from benchmarks.common.record import provenance, write_json
from patch_forcing.core.compiling import compiled
from patch_forcing.core.path import LinearPath
from patch_forcing.models.dit import PatchDiT
from patch_forcing.models.linear_gelu import plain_linear_gelu

BATCH, NODES = 128, 16
ROWS = [  # times of an image, whether blocks are left to torch, what is computed again
    (levels, left, again)
    for levels in (8, 256)
    for left, again in ((True, "none"), (False, "none"), (False, "gelu"), (False, "cheap"))
]
_KERNEL = re.compile(r"(\w+) = async_compile\.triton\('\w+', '''(.*?)'''", re.DOTALL)


class Counted(Exception):  # noqa: N818
    """Both passes have their code; nothing is run."""


@contextmanager
def codes() -> Iterator[list[str]]:
    """The code of the forward and of the backward pass, as they are made."""
    made: list[str] = []
    before = GraphLowering.codegen

    def codegen(self: GraphLowering) -> Any:
        result = before(self)
        made.append(result[0].value)
        if len(made) == 2:
            raise Counted
        return result

    GraphLowering.codegen = codegen  # type: ignore[method-assign]
    try:
        with (
            inductor.patch(profile_bandwidth=True, shape_padding=False, fx_graph_cache=False),
            functorch.patch(force_non_lazy_backward_lowering=True, enable_autograd_cache=False),
        ):
            yield made
    finally:
        GraphLowering.codegen = before  # type: ignore[method-assign]


def gigabytes(code: str) -> float:
    """Of all kernels that it runs."""
    kernels = {}
    for name, source in _KERNEL.findall(code):
        counted = re.search(r"'kernel_num_gb': ([\d.e-]+)", source)
        kernels[name] = float(counted[1]) if counted else 0.0
    runs = Counter(re.findall(r"(\w+)\.run\(", code[code.index("def call(") :]))
    return sum(kernels[name] * count for name, count in runs.items())


def counted(levels: int, left: bool, again: str, depth: int) -> tuple[float, float]:
    """Forward and backward pass."""
    torch._dynamo.reset()
    with FakeTensorMode():
        with torch.device("cuda"):
            model = PatchDiT(pf.preset("XL/2", depth=depth)).train()
            patches = model.config.num_patches
            x = torch.empty(BATCH, 4, 32, 32)
            labels = torch.empty(BATCH, dtype=torch.int64)
            index = None if levels == patches else torch.empty(BATCH, patches, dtype=torch.int64)
            times = pf.PatchTime(torch.empty(BATCH, levels), index)
        model.time_nodes, model.recompute_activations = NODES, again
        if left:
            for block in model.blocks:
                block.forward, block.mlp.widen = block._run, plain_linear_gelu
        objective = pf.PatchForcingObjective(
            LinearPath(2), pf.timesteps.LogitNormalTruncatedGaussian()
        )
        step = compiled(lambda: objective(model, x, labels, x_0=x, t=times).total)
        with codes() as made, torch.autocast("cuda", torch.bfloat16):
            try:
                step()
            except Exception:
                if len(made) < 2:
                    raise
    forward, backward = map(gigabytes, made)
    return forward, backward


def main() -> None:
    """Count, print, write."""
    parser = command_line(__doc__, device=False)
    parser.add_argument(
        "--depth", type=int, nargs=2, default=[2, 4], help="their difference counts"
    )
    options = parser.parse_args()
    rows = []
    for levels, left, again in ROWS:
        few, many = (counted(levels, left, again, depth) for depth in options.depth)
        blocks = options.depth[1] - options.depth[0]
        forward, backward = ((b - a) / blocks for a, b in zip(few, many, strict=True))
        rows.append(
            {"times": levels, "left_to_torch": left, "recompute_activations": again}
            | {"forward_gb_a_block": forward, "backward_gb_a_block": backward}
        )
        print(rows[-1], flush=True)
        report = {
            **provenance(__file__, "cuda"),
            "note": "hardware: what the code is for; nothing runs",
            "batch": BATCH,
            "rows": rows,
        }
        write_json(options.out, report)


if __name__ == "__main__":
    main()
