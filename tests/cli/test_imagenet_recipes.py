"""The ImageNet recipes hold the paper's settings."""

from patch_forcing.cli.main import run
from patch_forcing.runs.recipes import RECIPES

ALL = [f"imagenet256-{method}-{size}" for method in ("sit", "pft") for size in ("b", "l", "xl")]


def test_recipes_are_the_papers(capsys):
    """What the paper does not state is a default, which is written out here."""
    blocks = {"b": (768, 12, 12), "l": (1024, 24, 16), "xl": (1152, 28, 16)}
    for name in ALL:
        _, method, size = name.split("-")
        recipe = RECIPES[name].recipe
        network, optimizer = recipe.network, recipe.optimizer
        assert (network.hidden_size, network.depth, network.num_heads) == blocks[size]
        assert (network.patch_size, network.predict_difficulty) == (2, method == "pft")
        assert recipe.timesteps == {"pft": "ltg", "sit": "shared-uniform"}[method]
        assert (optimizer.name, optimizer.lr, optimizer.warmup_steps) == ("adamw", 1e-4, 1000)
        assert (optimizer.weight_decay, optimizer.clip_norm, optimizer.decay_share) == (0, 1, 0)
        assert (recipe.steps, recipe.batch_size, recipe.ema_decay) == (400_000, 256, 0.9999)
        assert (recipe.precision, recipe.label_dropout, recipe.nll_weight) == ("bf16", 0.1, 0.01)
        assert recipe.data.flip
        assert optimizer.lr_at(recipe.steps - 1, recipe.steps) == 1e-4
    run(["train", "--list"])
    message = capsys.readouterr().out
    for fid in ("33.0 (Euler)", "27.9 (Euler), 26.0 (dual-loop), 24.2 (look-ahead)", "9.8 (look"):
        assert f"FID-50k {fid}" in message or fid in message
