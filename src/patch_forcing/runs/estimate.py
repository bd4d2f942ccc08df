"""What a training run will take, before it starts: operations, memory, disk and hours."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from patch_forcing.data.source import SampleSizes
from patch_forcing.features.find import find_encoder, known_width
from patch_forcing.models.condition_kinds import condition_kind
from patch_forcing.models.config import PatchDiTConfig
from patch_forcing.models.cost import operations
from patch_forcing.models.dit import PatchDiT
from patch_forcing.models.text import ByteCondition, TextCondition
from patch_forcing.runs.alignment import feature_width
from patch_forcing.runs.checkpoint import KEPT_CHECKPOINTS
from patch_forcing.runs.parts import computed_times, timestep_sampler
from patch_forcing.runs.recipe import Recipe
from patch_forcing.runs.snapshots import DTYPE
from patch_forcing.training.alignment import Projector
from patch_forcing.training.posthoc_ema import WIDTHS

SHARE = 0.5
"""Of the rate of one large matrix product: about what a step reaches; 0.64 of XL/2 on one H200."""
_KEPT = {  # precision, compiled: one time for all patches, several, one for each
    ("fp32", False): (80, 113, 113),
    ("fp32", True): (72, 74, 88),
    ("bf16", False): (49, 66, 66),
    ("bf16", True): (38, 38, 46),
}
"""Bytes that a block keeps for its backward pass, for each token and unit of width: counted by the
hooks of saved tensors, compiled in what the partitioner saves."""

_PRODUCTS = {"fp32": 4, "bf16": 2}
"""The same of each width of products and attention: ten, and six of modulation where every patch
has a time of its own; besides, four bytes of what goes in, which is fp32. Outputs of GELU have four
widths."""
_CROSS, _REFINER, _READ = 4, 16, 9
"""Products of its width that each token of an image keeps where a block attends to a text, and each
of a text in a block that refines it; and bytes of each of a text besides."""
_CONDITION = 50
"""The same of what makes the condition, where every patch has a time of its own."""


@dataclass(frozen=True)
class Estimate:
    """Of one rank alone; memory is good to a fifth, hours to a factor of two.

    parameters, trained_parameters: of the network. gflop_per_image: of a forward pass.
    memory_gib: weights, their copies in bf16, gradient, averages, optimizer and the activations of
    a step. checkpoints_gib: of those that are kept. snapshots_gib: of all. hours: at SHARE of the
    rate. An alignment's projector is counted in all of these but parameters and snapshots, its
    encoder, which learns nothing, in none.
    """

    parameters: int
    trained_parameters: int
    projector_parameters: int
    gflop_per_image: float
    memory_gib: float
    checkpoints_gib: float
    snapshots_gib: float
    steps: int
    images: int
    hours: float


def estimate(recipe: Recipe, data: SampleSizes, rate: float) -> Estimate:
    """What `recipe` takes on this data; rate: `matrix_rate` of the machine at its precision."""
    config = recipe.network.config(data)
    with torch.device("meta"):
        model = PatchDiT(config)
    whole = recipe.train_only == "all"
    if not whole:
        model.train_difficulty_alone()
    weights, trained = _count(model.parameters()), _count(model.parameters(), trained=True)
    by_muon = whole and recipe.optimizer.name == "muon"
    matrices = _count(model.hidden_matrices()) if by_muon else 0
    optimizer = 8 * (trained - matrices) + 4 * matrices  # two averages of AdamW, one of Muon
    projector = _projector_parameters(recipe, config.grid)
    every = recipe.snapshot_interval()
    power = len(WIDTHS) if every else 0
    snapshots = -(-recipe.steps // every) if every else 0  # the last step has one too
    # the projector has no average
    state = 4 * (2 + power) * weights + optimizer + (4 + 8) * projector
    copies = 2 * weights if recipe.precision == "bf16" else 0
    tokens = recipe.batch_size / recipe.accumulate * config.num_patches
    activations = _activations(recipe, config, tokens)
    wide = 8 * recipe.alignment.projector_dim if projector else 0  # before and behind SiLU
    activations += tokens * wide * (2 if recipe.precision == "fp32" else 1)
    levels = computed_times(recipe, config.num_patches)
    forward = operations(config, levels) + 2 * projector * config.num_patches
    images = recipe.steps * recipe.batch_size
    # backward is twice the forward pass; recomputing is one more
    passes = (4 if recipe.recompute_activations == "all" else 3) if whole else 1
    return Estimate(
        weights,
        trained,
        projector,
        forward / 1e9,
        (state + copies + 4 * (trained + projector) + activations) / 2**30,
        KEPT_CHECKPOINTS * state / 2**30,
        snapshots * power * DTYPE.itemsize * weights / 2**30,
        recipe.steps,
        images,
        passes * forward * images / (SHARE * rate) / 3600,
    )


def _count(weights: Iterable[Tensor], *, trained: bool = False) -> int:
    return sum(weight.numel() for weight in weights if weight.requires_grad or not trained)


def _activations(recipe: Recipe, config: PatchDiTConfig, tokens: float) -> float:
    """Bytes of a step that are alive at once, without an alignment's; tokens: of all images."""
    times = timestep_sampler(recipe)(1, config.num_patches)
    which = 0 if times.num_levels == 1 else 2 if times.index is None else 1
    kept: float = _KEPT[recipe.precision, recipe.compile][which]
    if recipe.train_only != "all":  # of one block after the other
        return tokens * config.hidden_size * kept
    condition = (
        _CONDITION if computed_times(recipe, config.num_patches) == config.num_patches else 0
    )
    product = _PRODUCTS[recipe.precision]
    cheap = 4 + product * (16 if which == 2 else 10), kept
    by_block, besides = {
        "none": (kept, 0.0),
        "gelu": (kept - 4 * product, 4.0 * product) if recipe.compile else cheap,
        "cheap": cheap,
        "all": (4, kept),  # what goes in
    }[recipe.recompute_activations]
    activations = tokens * config.hidden_size * (by_block * config.depth + besides + condition)
    return activations + config.hidden_size * _kept_of_texts(recipe, config, tokens)


def _kept_of_texts(recipe: Recipe, config: PatchDiTConfig, tokens: float) -> float:
    """Bytes for each unit of width; tokens: of all images. 0 of networks that read no texts."""
    kind = condition_kind(config.condition)
    if not isinstance(kind, TextCondition | ByteCondition):
        return 0.0
    words = tokens / config.num_patches * kind.length
    product = _PRODUCTS[recipe.precision]
    refined = (_REFINER * product * kind.refiner + _READ) * words  # never computed again
    attended = product * (_CROSS * tokens + 2 * words)  # keys and values of each word
    blocks = 1 if recipe.recompute_activations == "all" else config.depth
    return refined + blocks * attended


def _projector_parameters(recipe: Recipe, grid: tuple[int, int]) -> int:
    """Raises UserError if an encoder that is not known by name is not there."""
    name = recipe.alignment.encoder
    if name is None:
        return 0
    width = known_width(name)
    if width is None:
        width = feature_width(find_encoder(name), grid)
    with torch.device("meta"):
        projector = Projector(recipe.network.hidden_size, recipe.alignment.projector_dim, width)
    return sum(weight.numel() for weight in projector.parameters())
