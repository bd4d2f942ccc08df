"""Mathematics on tensors: no parameters, files, devices or runs."""
