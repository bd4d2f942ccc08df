"""Predicted difficulty against the squared error that it should be, on images never trained on."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from benchmarks.common.record import Row
from patch_forcing.core.calibration import network_errors, rank_correlation, rank_correlations
from patch_forcing.core.difficulty import easy_set
from patch_forcing.core.patch_grid import patch_grid
from patch_forcing.core.random import CountedGenerator
from patch_forcing.core.time import PatchTime
from patch_forcing.models.dit import PatchDiT

TIMES = tuple(round(0.1 * k, 1) for k in range(1, 10))
RATIOS = (1.0, 1.2, 1.4, 1.7, 2.0, 2.5, 3.0)


@torch.no_grad()
def difficulty_row(
    model: PatchDiT,
    x_1: Float[Tensor, "M C H W"],
    condition: Shaped[Tensor, "M ..."],
    seed: int,
    device: str,
) -> Row:
    """Per time: rank correlation over all patches, and within images; predicted and true means in
    ten bins of equal count. Then hard patches at that time with the easy 40 % ahead, as context.

    seed: of the noise.
    """
    count = len(x_1)
    patches = patch_grid(x_1.shape[2:], model.patch_size)
    tokens = patches[0] * patches[1]
    noise = CountedGenerator(seed, torch.arange(count), device=device).fork("difficulty")
    x_0 = noise.normal(*x_1.shape[1:])

    def look(time: PatchTime) -> tuple[Tensor, Tensor]:
        """Predicted and true squared error of every patch, (count, N)."""
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=device != "cpu"):
            errors = network_errors(model, x_1, x_0, time, condition)
        return errors.variance, errors.error

    by_time, by_context = [], []
    for t in TIMES:
        times = torch.full((count,), t, device=device)
        predicted, true = look(PatchTime.shared(times, tokens))
        order = predicted.flatten().argsort()
        bins = [part for part in order.chunk(10) if len(part)]
        by_time.append(
            {
                "t": t,
                "rank_correlation": rank_correlation(predicted.flatten(), true.flatten()),
                "within_images": float(rank_correlations(predicted, true).nanmean()),
                "predicted": [float(predicted.flatten()[part].mean()) for part in bins],
                "true": [float(true.flatten()[part].mean()) for part in bins],
            }
        )
        easy = easy_set(predicted, 0.4)
        for ratio in RATIOS:
            ahead = min(1.0, ratio * t)
            predicted_r, true_r = look(PatchTime.two_level(easy, ahead, t))
            by_context.append(
                {
                    "t": t,
                    "ratio": ratio,
                    "predicted": float(predicted_r[~easy].mean()),
                    "true": float(true_r[~easy].mean()),
                }
            )
    return {"kind": "difficulty", "images": count, "by_time": by_time, "by_context": by_context}
