"""Steps by one pass over the memory, compiled, and by torch's AdamW; for test_update.py.

python -m tests.scripts.one_pass
"""

import json
import math

import torch
from torch import Tensor, nn

from patch_forcing.core.compiling import compiled
from patch_forcing.training.ema import update_ema
from patch_forcing.training.optim import build_optimizers, take_step
from patch_forcing.training.options import OptimizerConfig
from patch_forcing.training.update import adamw_pass, update_at_once

SHAPES = [(6, 8), (8,), (6, 8), (8,), (3, 5), (5,)]
GROUPS = [[0, 1], [2, 3], [4, 5]]
"""Two alike, and one that has no averages."""
AVERAGED = 4


def both_ways(
    config: OptimizerConfig, averages: int, failures: list[float], one_pass=adamw_pass
) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
    """All tensors after each step, one way and the other.

    failures: for each step 0, or what spoils a gradient.
    """
    start = [torch.randn(shape) for shape in SHAPES]
    sides = []
    for _ in range(2):
        weights = [nn.Parameter(tensor.clone()) for tensor in start]
        kept = [[tensor.clone() for tensor in start[:AVERAGED]] for _ in range(averages)]
        sides.append((weights, kept, build_optimizers(config, weights), []))
    for step, failure in enumerate(failures):
        gradients = [torch.randn(shape) * 10.0 ** (step % 3 - 1) for shape in SHAPES]
        if failure:
            gradients[step % len(SHAPES)].view(-1)[0] = failure
        lr = torch.tensor(config.lr_at(step, len(failures)))
        shares = [torch.tensor(0.5 / (1 + k + step)) for k in range(averages)]
        for ours, (weights, kept, optimizers, seen) in zip((True, False), sides, strict=True):
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.grad = gradient.clone()
            if ours:
                norm = nn.utils.get_total_norm([weight.grad for weight in weights])
                clip = (config.clip_norm / (norm + 1e-6)).clamp(max=1.0)
                skip = 1 - norm.isfinite().float()
                rates = lr, shares, clip, skip
                update_at_once(optimizers[0], weights, kept, *rates, GROUPS, one_pass)
            else:
                norm = nn.utils.clip_grad_norm_(weights, config.clip_norm)
                if norm.isfinite():
                    take_step(optimizers, float(lr), torch.zeros(()))
                    for average, share in zip(kept, shares, strict=True):
                        update_ema(average, weights[:AVERAGED], share)
            states = [optimizers[0].state[weight] for weight in weights]
            more = [  # before its first step torch's has none
                state.get(name, torch.zeros(()))
                for state in states
                for name in ("step", "exp_avg", "exp_avg_sq")
            ]
            averaged = [tensor for average in kept for tensor in average]
            seen.append([tensor.detach().clone() for tensor in (*weights, *more, *averaged)])
    return sides[0][3], sides[1][3]


if __name__ == "__main__":
    from torch._dynamo.utils import counters
    from torch._inductor import metrics

    torch.manual_seed(0)
    config = OptimizerConfig(lr=0.1, warmup_steps=2, weight_decay=0.2)
    result, expected = both_ways(config, 2, [0, 0, math.nan, 0, math.inf, 0], compiled(adamw_pass))
    apart = [float((a - b).abs().max()) for a, b in zip(result[-1], expected[-1], strict=True)]
    graphs = counters["stats"]["unique_graphs"]
    print(
        json.dumps(
            {"apart": max(apart), "graphs": graphs, "kernels": metrics.generated_kernel_count}
        )
    )
