"""What ties it together: recipes, the trainer, checkpoints, the pipeline."""
