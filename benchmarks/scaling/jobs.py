"""What the processes of a task do: time a step, train a small run, make a model, or be killed.

python -m benchmarks.scaling.jobs JOB    # started by benchmarks/scaling/attempt.py
"""

import json
import os
import signal
import statistics
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

import patch_forcing as pf
from benchmarks.common.record import Row
from benchmarks.scaling.plan import LEG_STEPS, RECIPE
from patch_forcing.data.batch import Batch, TensorData
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.sources import Digits
from patch_forcing.distributed.ranks import Ranks, join_ranks
from patch_forcing.generation.speed import random_model
from patch_forcing.models.config import DataInfo
from patch_forcing.models.cost import matrix_rate, operations
from patch_forcing.runs.memory import enough_memory
from patch_forcing.runs.recipe import Network, Recipe
from patch_forcing.runs.recipes import RECIPES
from patch_forcing.runs.state import initial_state
from patch_forcing.runs.step import TrainStep, side_stream
from patch_forcing.runs.trainer import train
from patch_forcing.training.options import OptimizerConfig

WARM, STEPS, REPEATS = 6, 5, 5
"""Steps until all is compiled and recorded; steps of a repeat."""
CLASSES = 1000
KILLED_STEP, KILL_AFTER = 3, 3.0
"""The step in whose backward pass a rank is killed, when others have waited so many seconds."""


def measure(job: Row) -> Row | None:
    """Seconds of a training step, and the memory it takes; alone, the card's products too."""
    device, toy = job["device"], job["toy"]
    with join_ranks(device) as ranks:
        recipe = replace(
            RECIPE,
            network=Network(2, 32, 2, 2) if toy else RECIPE.network,
            timesteps=job["timesteps"],
            batch_size=job["batch"],
            accumulate=job["parts"],
            compile=job["compile"],
            parallel=job["parallel"],
        )
        batch = recipe.batch_size // ranks.world
        noise = torch.Generator().manual_seed(ranks.rank)
        images = torch.randn(batch, *((4, 8, 8) if toy else (4, 32, 32)), generator=noise)
        labels = torch.arange(batch) % CLASSES
        data = TensorData(images, labels, CLASSES, DataInfo())
        at_hand = Batch(images.to(device), labels.to(device))
        with enough_memory(recipe, ranks, "in the benchmark"):
            state = initial_state(recipe, data, device, ranks=ranks)
            train_step = TrainStep(state, recipe, device, ranks, pieces=job["pieces"])
            with side_stream(device):
                for number in range(WARM):
                    train_step(at_hand, number)
                _meet(job, "warm")
                seconds = [_seconds(train_step, at_hand, ranks, k) for k in range(REPEATS)]
        train_step.close()
        memory = torch.cuda.max_memory_allocated() if device == "cuda" else 0
        slowest = [max(repeat) for repeat in zip(*ranks.gather(seconds), strict=True)]
        peak = max(ranks.gather(memory)) / 2**30
        if not ranks.first:
            return None
        step = statistics.median(slowest)
        result = {
            "seconds_per_step": step,
            "images_per_second": recipe.batch_size / step,
            "peak_gib": peak or None,
            "spread": (max(slowest) - min(slowest)) / step,
            "timing": slowest,
        }
        if ranks.world == 1:
            _meet(job, "trained")
            result["matrix_rate"] = matrix_rate(device, torch.bfloat16, 0.05 if toy else 0.5)
            result["gflop_per_image"] = operations(state.model.config, 1) / 1e9
        return result


def _seconds(train_step: TrainStep, batch: Batch, ranks: Ranks, repeat: int) -> float:
    """Of one step, from when all ranks are ready until this one's device is done."""
    wait = torch.cuda.synchronize if batch.x_1.is_cuda else lambda: None
    wait()
    ranks.wait()
    started = time.perf_counter()
    for number in range(STEPS):
        train_step(batch, WARM + repeat * STEPS + number)
    wait()
    return (time.perf_counter() - started) / STEPS


def _meet(job: Row, stage: str) -> None:
    """Wait for the other processes that work at the same time, each by itself."""
    if "meet" not in job:
        return
    folder, count = Path(job["meet"]["folder"]), job["meet"]["count"]
    (folder / f"{stage}-{os.getpid()}").touch()
    while len([*folder.glob(f"{stage}-*")]) < count:  # whoever started us ends a vain wait
        time.sleep(0.01)


def small_run(job: Row) -> None:
    """A small run on the digits, up to some step."""
    recipe = Recipe(
        Digits(),
        Network(patch_size=2, hidden_size=64, depth=2, num_heads=2),
        OptimizerConfig(lr=3e-3, warmup_steps=5),
        batch_size=64,
        ema_decay=0.9,
        checkpoint_every=LEG_STEPS,
        log_every=1,
        steps=job["steps"],
        parallel=job["parallel"],
    )
    train("scaling", recipe, Path(job["run"]), device=job["device"], progress=False)


def save_model(job: Row) -> Row:
    """XL/2 with random weights, for arrays of 32 × 32 numbers in three channels."""
    config = pf.preset("XL/2", in_channels=3)
    if job["toy"]:
        config = pf.PatchDiTConfig(8, in_channels=3, hidden_size=32, depth=2, num_heads=2)
    random_model(config, job["device"]).save(job["path"])
    return {}


@dataclass(frozen=True)
class Killed:
    """The digits; one rank is killed in a backward pass, while others wait for its gradients.

    file: gets the time of it.
    """

    rank: int
    file: str

    def open(self) -> TensorData:
        """For a process whose RANK is set."""
        digits, file, dies = Digits().open(), self.file, os.environ["RANK"] == str(self.rank)

        def die(_: Tensor) -> None:
            time.sleep(KILL_AFTER)
            Path(file).write_text(str(time.time()), encoding="utf-8")
            os.kill(os.getpid(), signal.SIGKILL)

        class Data(TensorData):
            def batch(self, spec: BatchSpec, device: torch.device | str = "cpu") -> Batch:
                batch = super().batch(spec, device)
                if dies and spec.step == KILLED_STEP:
                    batch.x_1.requires_grad_().register_hook(die)
                return batch

        return Data(digits.images, digits.labels, digits.num_classes, digits.info)


def killed(job: Row) -> None:
    """`patch-forcing train digits` on several ranks, the last of which is killed; does not return.

    The watchdog would end them if nothing else did.
    """
    from patch_forcing.cli.main import main as command

    named = RECIPES["digits"]
    data = Killed(job["ranks"] - 1, job["file"])
    RECIPES["digits"] = replace(named, recipe=replace(named.recipe, data=data, log_every=1))
    options = ["--out", job["run"], "--device", job["device"], "--parallel", job["parallel"]]
    sys.argv = ["patch-forcing", "train", "digits", *options, "--watchdog", "60"]
    command()


JOBS = {"measure": measure, "small run": small_run, "model": save_model, "killed": killed}


def main() -> None:
    """Do the job of the command line; a process that comes to a result writes it."""
    job = json.loads(sys.argv[1])
    result = JOBS[job["kind"]](job)
    if result is not None:
        Path(job["result"]).write_text(json.dumps(result), encoding="utf-8")
    sys.stdout.flush()
    if "RANK" in os.environ:
        os._exit(0)  # at the end of a rank, torch's threads may abort the process


if __name__ == "__main__":
    main()
