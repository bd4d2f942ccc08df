"""How good samples are: features, distances, coverage. Knows no sampler and no generator."""
