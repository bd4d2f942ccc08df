"""Two processes that measure together find what one finds."""

import multiprocessing
import os
import socket

import numpy as np
import pytest
import torch

import patch_forcing as pf
from patch_forcing.scoring.evaluation import read_evaluation


def _rank(rank, port, folder, out):
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2"}
    torch.set_num_threads(1)
    from patch_forcing.cli.main import run

    args = ["--features", "emoji", "--metrics", "fd,kid", "--device", "cpu", "--out", str(out)]
    run(["evaluate", str(folder / "a.npz"), "--reference", str(folder / "b.npz"), *args])


@pytest.mark.slow
def test_two_ranks_find_the_same_number(tmp_path):
    numbers = np.random.default_rng(0)
    for name in "ab":
        np.savez(
            tmp_path / f"{name}.npz", numbers.integers(0, 256, (600, 16, 16, 3), np.uint8)
        )  # three shards
    alone = pf.evaluate(
        tmp_path / "a.npz", tmp_path / "b.npz", features=["emoji"], metrics=["fd", "kid"]
    )
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    out = tmp_path / "two.json"
    ranks = [context.Process(target=_rank, args=(r, port, tmp_path, out)) for r in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(300)
        assert process.exitcode == 0
    two = read_evaluation(out)
    assert [one["metrics"] for one in two.record["results"]] == [
        one["metrics"] for one in alone.record["results"]
    ]
    assert two.record["ranks"] == 2
