"""The scans are scikit-learn's."""

import numpy as np
from sklearn.datasets import load_digits

from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.sources import Digits


def test_all_scans_with_their_labels_between_minus_one_and_one():
    data, scans = Digits().open(), load_digits()
    assert data.shape == (1, 8, 8)
    assert data.num_classes == 10
    assert data.info.class_names == tuple("0123456789")
    assert np.array_equal((data.images[:, 0].numpy() + 1) * 8, scans.images)
    assert np.array_equal(data.labels.numpy(), scans.target)
    assert (data.images.min(), data.images.max()) == (-1, 1)


def test_a_batch_pairs_images_with_labels():
    data = Digits().open()
    batch = data.batch(BatchSpec(5, 32, 0))
    for image, label in zip(batch.x_1, batch.condition, strict=True):
        same = (data.images == image).flatten(1).all(dim=1)
        assert label in data.labels[same]
