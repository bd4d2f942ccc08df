"""Data sets, and which samples a step sees."""
