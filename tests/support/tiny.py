"""Networks and a recipe that are small enough to train in a test."""

from patch_forcing.data.sources import Digits
from patch_forcing.runs.recipe import Network, Recipe
from patch_forcing.training.options import OptimizerConfig

TINY = Recipe(
    data=Digits(),
    network=Network(patch_size=4, hidden_size=16, depth=1, num_heads=2),
    optimizer=OptimizerConfig(lr=1e-2, warmup_steps=2),
    steps=6,
    batch_size=8,
    ema_decay=0.9,
    snapshot_every=3,
    checkpoint_every=2,
    log_every=1,
)
"""On the real scans."""
SMALL_NETWORK = ("--network.hidden-size", "16", "--network.depth", "1", "--network.num-heads", "2")
"""The same network, as options of `train`."""
