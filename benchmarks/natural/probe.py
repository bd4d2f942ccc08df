"""A linear classifier of a network's features: what does an image show, in the network's eyes?"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

DECAY = 1e-3
"""Of the weights of standardised features, half its square in the loss."""
_ROUNDS = 200


@dataclass(frozen=True)
class Probe:
    """Softmax regression on features (M, F): fitted by `fit`, used by a call."""

    mean: Float[Tensor, " F"]
    scale: Float[Tensor, " F"]
    weight: Float[Tensor, "F K"]
    bias: Float[Tensor, " K"]

    @classmethod
    def fit(
        cls,
        features: Float[Tensor, "M F"],
        labels: Int64[Tensor, " M"],
        classes: int,
        decay: float = DECAY,
    ) -> "Probe":
        """The least regularised cross-entropy, by L-BFGS over all images at once."""
        mean, scale = features.mean(0), features.std(0).clamp(min=1e-6)
        seen = (features - mean) / scale
        weight = torch.zeros(features.shape[1], classes, device=seen.device, requires_grad=True)
        bias = torch.zeros(classes, device=seen.device, requires_grad=True)
        solver = torch.optim.LBFGS(
            [weight, bias], max_iter=_ROUNDS, history_size=20, line_search_fn="strong_wolfe"
        )

        def loss() -> Tensor:
            solver.zero_grad()
            wrong = F.cross_entropy(seen @ weight + bias, labels)
            value = wrong + decay / 2 * weight.square().sum()
            value.backward()
            return value

        with torch.enable_grad():
            solver.step(loss)
        return cls(mean, scale, weight.detach(), bias.detach())

    def __call__(self, features: Float[Tensor, "M F"]) -> Int64[Tensor, " M"]:
        """The likeliest class of each image."""
        return (((features - self.mean) / self.scale) @ self.weight + self.bias).argmax(dim=1)

    def accuracy(self, features: Float[Tensor, "M F"], labels: Int64[Tensor, " M"]) -> float:
        """Share of images of which it names the class."""
        return float((self(features) == labels).float().mean())
