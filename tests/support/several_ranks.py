"""Trainings by several real processes, as torchrun starts them."""

import dataclasses
import math
import multiprocessing
import os
import signal
import socket
from pathlib import Path

import torch

from patch_forcing.core.errors import UserError
from patch_forcing.data.batch import TensorData
from patch_forcing.data.sources import Digits
from patch_forcing.runs.recipe import Recipe
from patch_forcing.runs.stops import Interrupted
from patch_forcing.runs.trainer import train

_LIMIT = 60
"""Seconds after which a process that hangs is ended."""


@dataclasses.dataclass(frozen=True)
class Troubled:
    """The digits, with trouble on one rank only: for the sample at one place of some batches."""

    place: int
    spoilt: tuple[int, ...] = ()
    """Steps at which it is NaN."""
    signalled: int | None = None
    """Step at which whoever reads it gets a signal."""
    number: signal.Signals = signal.SIGTERM
    refused: int | None = None
    """Step at which it cannot be read."""
    dies: int | None = None
    """Step in whose backward pass the process of whoever reads it ends."""

    def open(self):
        trouble, digits = self, Digits().open()

        class Data(TensorData):
            def batch(self, spec, device="cpu"):
                batch = super().batch(spec, device)
                if trouble.place not in spec.places:
                    return batch
                if spec.step == trouble.refused:
                    raise UserError("the label is gone")
                if spec.step == trouble.signalled:
                    signal.raise_signal(trouble.number)
                if spec.step == trouble.dies:
                    batch.x_1.requires_grad_().register_hook(lambda _: os._exit(9))
                if spec.step in trouble.spoilt:
                    batch.x_1[trouble.place - spec.places.start] = math.nan
                return batch

        return Data(digits.images, digits.labels, digits.num_classes, digits.info)


def train_on(
    world: int, recipe: Recipe, run: Path, *, apart: bool = False
) -> list[tuple[int, str]]:
    """Exit status and last words of each rank; apart: one alone too in a process of its own, free
    of the type checks of tests, which cannot be compiled.
    """
    if world == 1 and not apart:
        train("digits", recipe, run, progress=False)
        return [(0, "")]
    context = multiprocessing.get_context("forkserver")  # which imports torch once for all
    context.set_forkserver_preload(["patch_forcing.runs.trainer", "sklearn.datasets"])
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    outputs = [run.with_name(f"{run.name}-output-{rank}") for rank in range(world)]
    processes = [
        context.Process(target=_rank, args=(rank, world, port, recipe, run, outputs[rank]))
        for rank in range(world)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(_LIMIT * (5 if recipe.compile else 1))
        process.kill()
        process.join()
    ended = zip(processes, outputs, strict=True)
    return [(process.exitcode, file.read_text()) for process, file in ended]


def _rank(rank: int, world: int, port: int, recipe: Recipe, run: Path, output: Path) -> None:
    """As the command line does it."""
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world)}
    output.write_text("")
    try:
        train("digits", recipe, run, progress=False)
    except UserError as error:
        output.write_text(str(error))
        raise SystemExit(2) from None
    except Interrupted as stop:
        output.write_text(str(stop))
        raise SystemExit(130) from None
    if recipe.compile and recipe.parallel == "shard":
        graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        assert graphs < 9, f"{graphs} graphs: blocks share one"
