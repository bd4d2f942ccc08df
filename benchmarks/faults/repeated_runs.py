"""Runs that must repeat: stopped and resumed, for long, and as recorded in the repository."""

import itertools
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.faults.rows import Row, assert_like, before, training
from benchmarks.faults.system_calls import run_child
from patch_forcing.data import reader
from patch_forcing.io.run_layout import checkpoints
from patch_forcing.runs.recipe import Recipe
from patch_forcing.runs.recipes import RECIPES
from patch_forcing.runs.trainer import train
from tests.scripts import golden_losses
from tests.support.small_recipes import small
from tests.support.tiny import TINY

ALL_RECIPES = [
    name for name in RECIPES if not (name.startswith("imagenet") and name.endswith("-repa"))
]
"""Those whose encoder need not be downloaded."""


def stopped_and_resumed(
    work: Path,
    stops: list[int],
    workers: list[int],
    parts: list[int],
    recipes: Sequence[str] = tuple(ALL_RECIPES),
) -> Row:
    """Each recipe, stopped in each of these steps, by Ctrl-C and by kill -9 in turn.

    parts: in which a batch is accumulated.
    """
    row = Row("stopped in any step and resumed, on a CPU, deterministic", "weights, average, "
              "optimizer and losses bitwise those of a run that never stopped")  # fmt: skip
    for count, accumulate, name in itertools.product(workers, parts, recipes):
        recipe = small(name, work, steps=8)
        recipe = replace(recipe, accumulate=accumulate, snapshot_every=3, checkpoint_every=3)
        whole = work / f"{name}-{count}-{accumulate}"
        assert (ended := run_child(_with_workers(recipe, whole, count))).status == 0, ended.text
        for number, stop in enumerate(stops):
            run = work / f"{whole.name}-{stop}"
            how = signal.SIGKILL if number % 2 else signal.SIGINT
            task = _with_workers(recipe, run, count)
            stopping = before(recipe, stop, lambda h=how: os.kill(os.getpid(), h), task)
            cell = f"{name}, {accumulate} parts, {count} workers, step {stop}, {how.name}"
            with row.attempt(cell):
                assert run_child(stopping).status == (-how if number % 2 else 1)
                ended = run_child(task)
                assert ended.status == 0, ended.text
                assert_like(run, checkpoints(whole)[-1])
    row.notes = {"recipes": len(recipes), "steps": stops, "workers": workers, "parts": parts}
    return row


def _with_workers(recipe: Recipe, run: Path, count: int) -> Callable[[], object]:
    """Threads that compute, and threads that read images."""

    def task() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job may ignore it
        torch.set_num_threads(count)
        reader.THREADS = count
        train("faults", recipe, run, progress=False)

    return task


def memory(work: Path, steps: int, samplings: int) -> Row:
    """Resident memory before and after many steps, and many samplings, each after a warm-up."""
    row = Row("1,000 steps and 200 samplings after warm-up", "memory changes by less than 1 %")
    warm = max(20, steps // 5)
    recipe = replace(TINY, steps=warm + steps + 1, checkpoint_every=50, log_every=10)
    sizes = work / "sizes"
    task = before(recipe, warm, lambda: _note(sizes), training(recipe, work / "run"))
    task = before(recipe, warm + steps, lambda: _note(sizes), task)
    for what, measured in (("steps", task), ("samplings", lambda: _sample(work, samplings, sizes))):
        with row.attempt(what):
            ended = run_child(measured)
            assert ended.status == 0, ended.text
            first, last = map(int, sizes.read_text().split())
            sizes.unlink()
            row.notes[what] = f"{100 * (last / first - 1):+.2f} % of {first / 2**20:.0f} MiB"
            assert abs(last / first - 1) < 0.01, row.notes[what]
    row.notes |= {"after": f"{steps} steps, {samplings} samplings"}
    return row


def _sample(work: Path, times: int, sizes: Path) -> None:
    from patch_forcing.generation.pipeline import load

    torch.set_num_threads(1)
    pipe = load(work / "run")
    for number in range(20 + times + 1):
        if number in (20, 20 + times):
            _note(sizes)
        pipe(labels=[3, 7], seeds=[number, number + 1], sampler="dual-loop", num_steps=2)


def _note(sizes: Path) -> None:
    import gc

    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    with sizes.open("a") as stream:
        stream.write(f"{pages * os.sysconf('SC_PAGE_SIZE')}\n")


def golden(work: Path) -> Row:
    """Every recipe, shrunk, against the losses and averages in the repository."""
    row = Row("a golden loss curve of every recipe", "bitwise the same twice, and as recorded on "
              "any processor: losses to 1e-6, to 1e-4 where Muon rounds to bf16")  # fmt: skip
    torch.set_num_threads(1)
    for name, recorded in golden_losses.recorded().items():
        with row.attempt(name):
            first, second = (golden_losses.trained(name, work / str(n)) for n in (0, 1))
            assert first == second, "two runs differ"
            pairs = zip(first["losses"], recorded["losses"], strict=True)
            apart = max(abs(loss / golden - 1) for loss, golden in pairs)
            row.notes[name] = f"up to {apart:.1e} of a loss from the recorded"
            assert apart < golden_losses.tolerance(name, recorded["on"])[0], row.notes[name]
    return row
