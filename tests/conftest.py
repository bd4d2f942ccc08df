"""Every tensor border of the package is checked while the tests run; results repeat."""

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.support import typecheck

typecheck.install()  # for all that tests import
# torch is imported where it is needed: the process that hands tests to workers has no use for it.
# Tensors here are tiny: threads would only wait for each other, also in processes that tests start.
os.environ["OMP_NUM_THREADS"] = "1"
# glibc keeps what is freed: each process would give it back to the system and fault it in again.
os.environ |= {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**31)}

# Time limits belong to benchmarks: no test may fail because a machine is slow.
settings.register_profile("default", deadline=None, derandomize=True, max_examples=30)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(autouse=True, scope="session")
def _no_waiting_for_the_disk() -> Iterator[None]:
    """No test cuts the power; those of what is synchronized when put their own in its place."""
    real = os.fsync
    os.fsync = lambda _: None
    yield
    os.fsync = real


@pytest.fixture(autouse=True, scope="session")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or writes the user's own."""
    os.environ["PATCH_FORCING_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def _begin() -> None:
    import torch

    torch.manual_seed(0)
    typecheck.begin_test()


def pytest_collection_finish() -> None:
    """What stays until the end need not be looked through for garbage."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@pytest.fixture
def recipe():
    """Small enough to train in a test, on the real scans."""
    from tests.support.tiny import TINY

    return TINY


@pytest.fixture
def hub(monkeypatch, tmp_path_factory):
    """A Hub on this machine, empty, of which the user has a token; what fails is not waited for."""
    from tests.support.hub import Hub, use

    served = Hub()
    use(served, monkeypatch, tmp_path_factory.mktemp("hub"))
    yield served
    served.close()
