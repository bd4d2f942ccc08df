"""What every process of a variant does: measures a step, or trains a part of a tiny run.

python -m benchmarks.scaling.jobs JOB    # started by benchmarks/scaling/processes.py
"""

import json
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import patch_forcing as pf
from benchmarks.common.record import Row
from patch_forcing.data.batch import Batch, TensorData
from patch_forcing.data.digits import Digits
from patch_forcing.distributed.ranks import join_ranks
from patch_forcing.io.provenance import hardware
from patch_forcing.models.config import DataInfo
from patch_forcing.runs.memory import enough_memory
from patch_forcing.runs.recipe import Network, Recipe
from patch_forcing.runs.state import initial_state
from patch_forcing.runs.step import TrainStep, side_stream
from patch_forcing.runs.trainer import train
from patch_forcing.training.optim import OptimizerConfig

WARM, STEPS, REPEATS = 6, 10, 5
"""Steps until all is compiled and recorded; steps of a repeat."""
LEG_STEPS = 10
"""Steps between checkpoints of the tiny run."""


def measure(job: Row) -> Row | None:
    """In each process of a variant: seconds of a step, and the memory it takes."""
    device = job["device"]
    with join_ranks(device) as ranks:
        config = pf.PatchDiTConfig(**job["sizes"])
        batch = job["batch"]
        shape = (batch, config.in_channels, *config.image_size)
        noise = torch.Generator().manual_seed(ranks.rank)
        images = torch.randn(shape, generator=noise)
        labels = torch.arange(batch) % config.num_classes
        data = TensorData(images, labels, config.num_classes, DataInfo())
        recipe = Recipe(
            Digits(),  # not read: the batch is at hand
            Network(config.patch_size, config.hidden_size, config.depth, config.num_heads),
            batch_size=batch * ranks.world,
            precision="bf16",
            compile=job["compile"],
            parallel=job["parallel"],
        )
        at_hand = Batch(images.to(device), labels.to(device))
        with enough_memory(recipe, ranks, "in the benchmark"):
            state = initial_state(recipe, data, device, ranks=ranks)
            train_step = TrainStep(state, recipe, device, ranks, pieces=job["pieces"])
            with side_stream(device):
                for number in range(WARM):
                    train_step(at_hand, number)
                seconds = [_seconds(train_step, at_hand, ranks, k) for k in range(REPEATS)]
        train_step.close()
        memory = torch.cuda.max_memory_allocated() if device == "cuda" else 0
        slowest = [max(repeat) for repeat in zip(*ranks.gather(seconds), strict=True)]
        peak = max(ranks.gather(memory)) / 2**30
        if not ranks.first:
            return None
        step = statistics.median(slowest)
        return {
            "batch": recipe.batch_size,
            "seconds_per_step": step,
            "images_per_second": recipe.batch_size / step,
            "peak_gib": peak or None,
            "spread": (max(slowest) - min(slowest)) / step,
            "timing": slowest,
            "hardware": hardware(device),
        }


def _seconds(train_step: TrainStep, batch: Batch, ranks: Any, repeat: int) -> float:
    """Of one step, from when all ranks are ready until this one's device is done."""
    wait = torch.cuda.synchronize if batch.x_1.is_cuda else lambda: None
    wait()
    ranks.wait()
    started = time.perf_counter()
    for number in range(STEPS):
        train_step(batch, WARM + repeat * STEPS + number)
    wait()
    return (time.perf_counter() - started) / STEPS


def resume(job: Row) -> Row | None:
    """In each process: a tiny run, up to some step."""
    recipe = Recipe(
        Digits(),
        Network(patch_size=2, hidden_size=64, depth=2, num_heads=2),
        OptimizerConfig(lr=3e-3, warmup_steps=5),
        batch_size=64,
        ema_decay=0.9,
        checkpoint_every=LEG_STEPS,
        log_every=1,
    )
    recipe = replace(recipe, steps=job["steps"], parallel=job["parallel"])
    outcome = train("scaling", recipe, Path(job["run"]), device=job["device"], progress=False)
    return {"steps": outcome.steps} if outcome.writes else None


JOBS = {"measure": measure, "resume": resume}


def main() -> None:
    """Do the job of the command line; the first process writes what comes of it."""
    job = json.loads(sys.argv[1])
    result = JOBS[job["kind"]](job)
    if result is not None:
        Path(job["result"]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
