"""The 1,797 handwritten digits that come with scikit-learn: real scans, 8×8, no download."""

from functools import cache

import torch

from patch_forcing.data.batch import TensorData
from patch_forcing.models.config import DataInfo


@cache
def open_digits() -> TensorData:
    """All scans with their labels 0 … 9, ink 0 … 16 as −1 … 1."""
    from sklearn.datasets import load_digits  # a slow import that only training pays for

    scans = load_digits()
    images = torch.from_numpy(scans.images).float()[:, None] / 8 - 1  # (1797, 1, 8, 8)
    names = tuple(str(name) for name in scans.target_names)
    return TensorData(
        images, torch.from_numpy(scans.target).long(), len(names), DataInfo(class_names=names)
    )
