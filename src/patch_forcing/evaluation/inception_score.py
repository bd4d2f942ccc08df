"""The Inception score: are images clear, and are there images of all kinds."""

import torch
from jaxtyping import Float
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.evaluation.estimate import Estimate

SPLIT = 5000
"""Images whose score is taken at once, at least, as in ADM; the mean over such splits is given."""


def inception_score(probabilities: Float[Tensor, "n K"], split: int = SPLIT) -> Estimate:
    """The exponential of the mean KL(p(y|x) ‖ p(y)), by any classes (Salimans et al. 2016).

    It is at least 1, and grows with the number of images in a split, which are taken in order.
    It never looks at real images.
    Raises UserError for fewer than two images.
    """
    if len(probabilities) < 2:
        raise UserError(f"Inception score of {len(probabilities)} images: give at least 2")
    values, influences = [], []
    for part in probabilities.double().tensor_split(max(1, len(probabilities) // split)):
        overall = part.mean(0)
        divergence = (torch.xlogy(part, part) - torch.xlogy(part, overall)).sum(1)
        values.append(divergence.mean().exp())
        influences.append(values[-1] * (divergence - divergence.mean()))
    value = float(torch.stack(values).mean())
    return Estimate(value, torch.cat(influences).cpu(), len(probabilities))
