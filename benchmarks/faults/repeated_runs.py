"""Runs that must repeat: stopped and resumed, for long, and as recorded in the repository."""

import itertools
import json
import os
import signal
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks.faults.rows import Row, assert_like, before, training
from benchmarks.faults.system_calls import run_child
from patch_forcing.data import reader
from patch_forcing.data.batch import TensorData
from patch_forcing.data.emoji import EmojiScenes
from patch_forcing.data.folders import FolderSource
from patch_forcing.data.hub import HubSource
from patch_forcing.data.shards import ShardsSource
from patch_forcing.io.run_layout import checkpoints
from patch_forcing.models.config import DataInfo
from patch_forcing.runs.recipe import Recipe
from patch_forcing.runs.recipes import RECIPES
from patch_forcing.runs.trainer import train
from tests.support.emoji_font import tiny_atlas
from tests.support.golden import GOLDEN, machine
from tests.support.image_files import photos
from tests.support.same_runs import losses
from tests.support.tiny import TINY


@dataclass(frozen=True)
class Shapes:
    """Scenes of four drawings: what emoji recipes see, without an installed font."""

    size: int = 64

    def open(self) -> EmojiScenes:
        """In memory."""
        return EmojiScenes(tiny_atlas(), self.size)


@dataclass(frozen=True)
class Latents:
    """Noise of four channels in two classes: the shape of what ImageNet's recipes see."""

    def open(self) -> TensorData:
        """In memory."""
        x_1 = torch.randn(24, 4, 8, 8, generator=torch.Generator().manual_seed(0))
        return TensorData(x_1, torch.arange(24) % 2, 2, DataInfo())


SOURCES = {"folder": FolderSource, "shards": ShardsSource, "hub": HubSource}
ALL_RECIPES = [
    name for name in RECIPES if not (name.startswith("imagenet") and name.endswith("-repa"))
]
"""Alignment is that of emoji-64-repa."""
_LONG = ("hub", "emoji-64-repa")  # importing `datasets`, or an encoder, takes seconds each time
QUICK_RECIPES = [
    name for name in ALL_RECIPES if name not in _LONG and not name.endswith(("-l", "-xl"))
]
"""Without those, and without larger ones, which are shrunk to the same."""


def pack_images(folder: Path, tar: Path) -> None:
    """The same images as a shard; a class's number is its place in the alphabet."""
    with tarfile.open(tar, "w") as shard:
        for number, of_class in enumerate(sorted(folder.iterdir())):
            label = folder.parent / f"{of_class.name}.cls"
            label.write_text(str(number))
            for image in sorted(of_class.iterdir()):
                shard.add(image, f"{of_class.name}-{image.name}")
                shard.add(label, f"{of_class.name}-{image.stem}.cls")


def small(name: str, folder: Path, steps: int) -> Recipe:
    """A named recipe with its own optimizer, times, precision and data, shrunk for a test.

    folder: of images made here, where it trains on some.
    """
    recipe = RECIPES[name].recipe
    data: object = recipe.data
    if name in SOURCES:
        if not folder.exists():
            photos(folder, {"one": 12, "other": 12})
            pack_images(folder, folder.with_suffix(".tar"))
        path = folder.with_suffix(".tar") if name == "shards" else folder
        data = SOURCES[name](path=str(path), size=16)
    elif name.startswith("emoji"):
        data = Shapes()
    elif name.startswith("imagenet"):
        data = Latents()
    optimizer = replace(recipe.optimizer, warmup_steps=min(10, recipe.optimizer.warmup_steps))
    alignment = recipe.alignment
    if alignment.encoder is not None:
        alignment = replace(alignment, projector_dim=16)
    return replace(
        recipe,
        data=data,
        alignment=alignment,
        network=replace(
            recipe.network,
            patch_size={"digits": 4, "imagenet256": 2}.get(name.split("-")[0], 8),
            hidden_size=16,
            depth=1,
            num_heads=2,
        ),
        optimizer=optimizer,
        steps=steps,
        batch_size=8,
        ema_decay=0.9,
        snapshot_every=3,
        compile=False,
        checkpoint_every=3,
        log_every=1,
        deterministic=True,
    )


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
        recipe = replace(small(name, work / "images", steps=8), accumulate=accumulate)
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


GOLDEN_STEPS = 100


TOLERANCE = 1e-3
"""Of a loss, relative, between machines: other kernels round otherwise, and training spreads it."""


def golden(
    work: Path,
    steps: int = GOLDEN_STEPS,
    recipes: Sequence[str] = tuple(ALL_RECIPES),
    *,
    record: bool = False,
) -> Row:
    """The first 100 losses of every recipe, shrunk, against those in the repository.

    steps: how many of them. record: write them down instead, all.
    """
    row = Row("a golden loss curve of 100 steps for every recipe", "bitwise the same twice, and as "
              "recorded where torch and processor are the recorded ones; elsewhere within "
              f"{TOLERANCE:g} of each loss")  # fmt: skip
    for name in recipes:
        file = GOLDEN / f"{name}.json"
        recipe = small(name, work / "images", GOLDEN_STEPS)
        recipe = replace(recipe, checkpoint_every=GOLDEN_STEPS, snapshot_every=GOLDEN_STEPS)
        with row.attempt(name):
            first, second = (_losses(recipe, work / f"{name}-{n}", steps) for n in (0, 1))
            assert first == second, "two runs differ"
            if record:
                file.parent.mkdir(exist_ok=True)
                curve = {"on": machine(), "losses": [loss.hex() for loss in first]}
                file.write_text(json.dumps(curve, indent=1) + "\n", encoding="utf-8")
            recorded = json.loads(file.read_text(encoding="utf-8"))
            curve = [float.fromhex(loss) for loss in recorded["losses"]][:steps]
            if recorded["on"] == machine():
                different = [n + 1 for n in range(steps) if first[n] != curve[n]]
                assert not different, f"from step {different[0]} on: record it if that is meant"
                row.notes[name] = "bitwise as recorded"
            else:
                apart = [abs(a / b - 1) for a, b in zip(first, curve, strict=True)]
                row.notes[name] = f"up to {max(apart):.1e} of a loss from another machine's"
                assert max(apart) < TOLERANCE, row.notes[name]
    return row


def _losses(recipe: Recipe, run: Path, steps: int) -> list[float]:
    """Of the first steps; the recipe's length, which its learning rate may depend on, stays."""
    stop = before(
        recipe, steps, lambda: os.kill(os.getpid(), signal.SIGKILL), training(recipe, run)
    )
    run_child(stop)
    logged = [loss for _, loss in losses(run)]
    assert len(logged) == steps, f"{len(logged)} of {steps} steps done"
    return logged
