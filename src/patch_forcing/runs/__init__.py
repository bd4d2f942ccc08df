"""Training runs: recipes, alignment, the trainer, checkpoints, watching; encoding, conversion."""
