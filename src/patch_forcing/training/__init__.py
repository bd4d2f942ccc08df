"""The objective, the optimizer, the averaged weights. Knows no network."""
