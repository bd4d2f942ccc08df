"""Mathematics on tensors. Nothing here knows parameters, files, devices or runs.

The letters of shapes and formulas stand in the docstring of `patch_forcing`.
"""
