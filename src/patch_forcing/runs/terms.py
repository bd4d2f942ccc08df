"""Terms of a recipe's objective, as a run needs them: opened, made once, given each step's inputs.

The training loop takes whichever it is handed; the terms that a recipe can name are listed here.
"""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from patch_forcing.data.batch import Batch, TrainingData
from patch_forcing.distributed.ranks import Ranks
from patch_forcing.features.network import FeatureNetwork
from patch_forcing.runs.alignment import open_alignment
from patch_forcing.runs.recipe import Network, Recipe
from patch_forcing.training.terms import Term


@runtime_checkable
class RunTerm(Protocol):
    """A term with what a run needs of it besides its value."""

    @property
    def record(self) -> Mapping[str, Any]:
        """What run.json keeps of it; a resumed run must have the same."""

    def build(self, network: Network) -> Term:
        """The term for a network of these sizes, its own weights freshly initialised."""

    def inputs(self, batch: Batch, step: int) -> Tensor:
        """What its tokens are held against in a step, on the batch's device: (B, …)."""


def open_terms(
    recipe: Recipe,
    data: TrainingData,
    device: torch.device | str,
    ranks: Ranks,
    encoder: FeatureNetwork | None = None,
) -> tuple[RunTerm, ...]:
    """The terms that a recipe names. encoder: of its alignment, in place of one found by name.

    Raises UserError if one cannot be had with this data.
    """
    alignment = open_alignment(recipe, data, device, ranks, encoder)
    return () if alignment is None else (alignment,)
