"""Samplers that are usable by name, but no better than Adams–Bashforth by our own figures.

docs/results/samplers.md compares them. What is here may change or leave with a release.
"""
