"""How well images show their prompts, by a network that sees both."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.evaluation.estimate import Estimate, mean_estimate


def clip_score(images: Float[Tensor, "n F"], texts: Float[Tensor, "n F"]) -> Estimate:
    """The mean cosine between embeddings of an image and its text, times 100, and 0 where it is
    negative (Hessel et al. 2021, who multiply by 2.5).

    Raises UserError for fewer than two images.
    """
    if len(images) < 2:
        raise UserError(f"CLIP score of {len(images)} images: give at least 2")
    cosines = F.cosine_similarity(images.double(), texts.to(images.device).double(), dim=1)
    return mean_estimate(100 * cosines.clamp(min=0))
