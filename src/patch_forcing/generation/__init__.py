"""From a model's name to images on disk: seeds, the pipeline, galleries, how fast it is."""
