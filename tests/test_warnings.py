"""Whose deprecations make these tests fail: see filterwarnings in pyproject.toml."""

import warnings

import pytest


def test_our_own_do():
    with pytest.raises(DeprecationWarning):
        warnings.warn("patch-forcing: a name goes in 1.0", DeprecationWarning, stacklevel=1)


def test_a_librarys_do_not(recwarn):
    warnings.warn("a future release of torch ends this", FutureWarning, stacklevel=1)
    assert len(recwarn) == 1
