"""What a recipe's options make: its network, and the times that it trains at."""

from patch_forcing.core.registry import build
from patch_forcing.core.timesteps import TIMESTEPS, TimestepSampler
from patch_forcing.data.batch import TrainingData
from patch_forcing.models.dit import PatchDiT
from patch_forcing.runs.recipe import Network, Recipe


def build_network(network: Network, data: TrainingData) -> PatchDiT:
    """A network for this data, freshly initialised."""
    return PatchDiT(network.config(data), data.info)


def timestep_sampler(recipe: Recipe) -> TimestepSampler:
    """The distribution that `timesteps` names."""
    return build("timesteps", TIMESTEPS, recipe.timesteps)


def computed_times(recipe: Recipe, num_patches: int) -> int:
    """At how many times the network computes conditions, for each image of a step."""
    levels = timestep_sampler(recipe)(1, num_patches).num_levels
    return min(levels, recipe.time_nodes) if recipe.time_nodes else levels
