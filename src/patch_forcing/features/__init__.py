"""Frozen networks that look at images: for distances between sets of them, and for alignment."""
