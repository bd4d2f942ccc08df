"""Memory that runs out: what to change, to what, and that it comes back."""

import dataclasses
import gc
import importlib
import sys
import weakref

import pytest
import torch

import patch_forcing as pf
from benchmarks.faults.system_calls import little_memory
from patch_forcing.distributed.ranks import Ranks
from patch_forcing.runs.memory import advice, enough_memory
from patch_forcing.runs.recipe import Network
from patch_forcing.runs.trainer import train


@pytest.mark.parametrize(
    ("world", "changes", "expected"),
    [
        (1, {}, "2 (32 images at a time instead of 64) or --recompute-activations gelu or"),
        (1, {"recompute_activations": "gelu"}, "of 64) or --recompute-activations cheap or"),
        (1, {"recompute_activations": "cheap"}, "instead of 64) or --recompute-activations all"),
        (1, {"recompute_activations": "all"}, "--accumulate 2 (32 images at a time instead of 64)"),
        (2, {"recompute_activations": "all", "accumulate": 32}, "goes on with --parallel shard"),
        (1, {"batch_size": 6}, "--accumulate 2 (3 images at a time instead of 6)"),
        (1, {"batch_size": 9, "accumulate": 3}, "--accumulate 9 (1 images at a time instead of 3)"),
        (
            1,
            {"recompute_activations": "all", "accumulate": 64},
            "a smaller network, or --parallel shard on 2 GPUs",
        ),
    ],
)
def test_advice_names_options_with_values(recipe, world, changes, expected):
    recipe = dataclasses.replace(recipe, **{"batch_size": 64, **changes})
    assert expected in advice(recipe, world)


def test_what_is_advised_divides_the_batch(recipe):
    for size in range(1, 40):
        for world in (w for w in (1, 2, 3) if size % w == 0):
            message = advice(dataclasses.replace(recipe, batch_size=size), world)
            if "--accumulate" in message:
                parts = int(message.split("--accumulate ")[1].split()[0])
                assert size % (world * parts) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
def test_a_real_allocation_that_fails_ends_training_with_advice(recipe, tmp_path):
    wide = Network(patch_size=1, hidden_size=256, depth=8, num_heads=2)
    recipe = dataclasses.replace(recipe, network=wide, batch_size=1024, steps=1)
    train("digits", dataclasses.replace(recipe, batch_size=2), tmp_path / "small", progress=False)
    with (
        little_memory(2**28),
        pytest.raises(pf.UserError, match=r"memory in step 1: .*--accumulate 2 \(512 images"),
    ):
        train("digits", recipe, tmp_path / "run", progress=False)


def test_tensors_of_the_frames_that_failed_are_given_back(recipe):
    kept = []

    def deep():
        activations = torch.ones(1000)
        kept.append(weakref.ref(activations))
        torch.empty(2**60, dtype=torch.uint8)
        return activations

    with (
        pytest.raises(pf.UserError, match="out of memory in step 3: the same command"),
        enough_memory(recipe, Ranks(), "in step 3"),
    ):
        deep()
    gc.collect()
    assert kept[0]() is None


def test_other_errors_pass(recipe):
    with pytest.raises(RuntimeError, match="shape"), enough_memory(recipe, Ranks(), "in step 3"):
        raise RuntimeError("shape mismatch")


@pytest.mark.gpu
def test_a_gpu_that_is_too_small_gives_its_memory_back(recipe, tmp_path):
    torch.cuda.empty_cache()
    before, reserved = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    large = Network(patch_size=1, hidden_size=1024, depth=24, num_heads=16)
    recipe = dataclasses.replace(recipe, network=large, batch_size=2**15)
    with pytest.raises(pf.UserError, match=r"out of memory in step 1: .*--accumulate 2 "):
        train("digits", recipe, tmp_path / "run", device="cuda", progress=False)
    # cuBLAS keeps 33 MiB for each stream; activations took all that there was, the network 7 GiB
    gc.collect()
    assert torch.cuda.memory_allocated() - before < 2**27
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() - reserved < 2**28


@pytest.mark.slow
def test_a_trained_network_is_gone_with_its_last_user_and_waits_for_no_collector(recipe, tmp_path):
    importlib.import_module("torch._dynamo")  # by the first optimizer, else, with cycles of its own
    gc.collect()
    gc.disable()
    try:
        before = networks()
        train("digits", recipe, tmp_path / "run", progress=False)
        assert networks() == before
    finally:
        gc.enable()


def networks():
    return sum(type(one) is pf.PatchDiT for one in gc.get_objects())
