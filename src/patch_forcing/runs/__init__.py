"""Training runs: recipes, the trainer, checkpoints, what is watched; and encoding beforehand."""
