"""Faults of two ranks that train together, of numbers, of memory and of data that go away."""

import itertools
import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.faults.rows import Row, before, training
from benchmarks.faults.system_calls import little_memory, run_child
from patch_forcing.core.errors import UserError
from patch_forcing.data.batch import Batch, TensorData
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.sources import Digits, ShardsSource
from patch_forcing.io.run_layout import checkpoints
from patch_forcing.runs import saver, step
from patch_forcing.runs.recipe import Network, Recipe
from patch_forcing.runs.state import initial_state
from patch_forcing.runs.step import TrainStep
from patch_forcing.runs.trainer import train
from patch_forcing.training.objective import PatchForcingObjective
from tests.support.image_files import samples, shard
from tests.support.same_runs import assert_same, losses
from tests.support.several_ranks import train_on
from tests.support.tiny import TINY

PLACES = ("data wait", "forward", "backward", "optimizer", "save")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
LIMIT = 30.0
"""Seconds from the start of all ranks to the end of all."""


@dataclass(frozen=True)
class Trouble:
    """The digits; on one of two ranks something happens once, in the step of some number.

    what: numbers of signals to raise, in `place`; or "nan" or "inf", which takes the place of one
    sample of the batch, or of one weight's gradient where `place` is the backward pass.
    once: a file, there once it has happened; empty: each time.
    """

    rank: int = 0
    step: int = 0
    place: str = ""
    what: tuple[int | str, ...] = ()
    once: str = ""

    def open(self) -> TensorData:
        """In a process of its own, which is changed for good."""
        trouble, digits, armed = self, Digits().open(), []
        bad = float(self.what[0]) if self.what and isinstance(self.what[0], str) else None

        def happens(place: str) -> bool:
            if not armed or place != trouble.place:
                return False
            armed.clear()
            if trouble.once:
                if Path(trouble.once).exists():
                    return False
                Path(trouble.once).touch()
            for number in trouble.what if bad is None else ():
                signal.raise_signal(signal.Signals(number))
            return True

        def first(place: str, function: Callable[..., Any]) -> Callable[..., Any]:
            def changed(*args: Any, **kwargs: Any) -> Any:
                happens(place)
                return function(*args, **kwargs)

            return changed

        def backward(_: torch.Tensor) -> None:
            happens("backward")

        def spoil_gradient(call: Callable[..., Any]) -> Callable[..., Any]:
            def changed(self: PatchForcingObjective, model: Any, *args: Any, **kwargs: Any) -> Any:
                if happens("backward"):
                    hook = next(model.parameters()).register_hook
                    handle = hook(lambda gradient: handle.remove() or gradient * bad)
                return call(self, model, *args, **kwargs)

            return changed

        call = PatchForcingObjective.__call__
        changed = first("forward", call) if bad is None else spoil_gradient(call)
        PatchForcingObjective.__call__ = changed  # type: ignore[method-assign]
        step.take_step = first("optimizer", step.take_step)
        saver.save_checkpoint = first("save", saver.save_checkpoint)

        class Data(TensorData):
            def batch(self, spec: BatchSpec, device: torch.device | str = "cpu") -> Batch:
                batch = super().batch(spec, device)
                if not trouble.what or spec.step != trouble.step:
                    return batch
                if spec.places is not None and (spec.places.start > 0) != trouble.rank:
                    return batch
                armed.append(True)
                if happens("data wait") and bad is not None:
                    batch.x_1[0] = bad
                if bad is None and trouble.place == "backward":
                    batch.x_1.requires_grad_().register_hook(backward)
                return batch

        return Data(digits.images, digits.labels, digits.num_classes, digits.info)


PARTED = replace(TINY, deterministic=True)


def _undisturbed(work: Path, recipe: Recipe) -> Path:
    """The last checkpoint of a run on two ranks."""
    run = work / "whole"
    assert train_on(2, replace(recipe, data=Trouble()), run) == [(0, "")] * 2
    return checkpoints(run)[-1]


def _ends(recipe: Recipe, run: Path, slowest: list[float]) -> list[tuple[int, str]]:
    """How both ranks end, in time."""
    started = time.monotonic()
    ended = train_on(2, recipe, run)
    seconds = time.monotonic() - started
    slowest[0] = max(slowest[0], seconds)
    assert seconds < LIMIT, f"{seconds:.0f} s"
    return ended


def _resumes(recipe: Recipe, run: Path, whole: Path) -> None:
    """The same command again ends as the run that nothing disturbed."""
    assert train_on(2, recipe, run) == [(0, "")] * 2
    assert_same(checkpoints(run)[-1], whole)
    assert losses(run) == losses(whole.parent.parent)


def _at(rank: int, place: str, what: tuple[int | str, ...], run: Path, at_step: int = 3) -> Trouble:
    return Trouble(rank, at_step, place, what, f"{run}-happened")


def signals(work: Path) -> Row:
    """Ask one of two ranks to stop, once or twice, in every part of a step."""
    row = Row(
        "SIGTERM, SIGINT or SIGUSR1 to one rank of two, once or twice, in every part of a step",
        "both finish the step, save, and end with 130 in 30 s; resumed bitwise the run never "
        "stopped",
    )
    whole, slowest = _undisturbed(work, PARTED), [0.0]
    asked = itertools.product(PLACES, (0, 1), SIGNALS, (1, 2))
    for number, (place, rank, name, times) in enumerate(asked):
        run = work / str(number)
        recipe = replace(PARTED, data=_at(rank, place, (int(name),) * times, run))
        with row.attempt(f"{name.name} × {times}, rank {rank}, {place}"):
            (one, words), (other, same) = _ends(recipe, run, slowest)
            assert (one, other) == (130, 130), (one, words, other, same)
            assert words == same
            assert "saved; the same command resumes" in words, words
            _resumes(recipe, run, whole)
    row.notes["slowest, start and end of all ranks, seconds"] = round(slowest[0], 1)
    return row


def killed_ranks(work: Path) -> Row:
    """Kill one of two ranks in every part of a step."""
    row = Row(
        "kill -9 of one rank of two in every part of a step",
        "the other says so and ends with 2 in 30 s; resumed bitwise the run never stopped",
    )
    whole, slowest = _undisturbed(work, PARTED), [0.0]
    for number, (place, rank) in enumerate(itertools.product(PLACES, (0, 1))):
        run = work / str(number)
        recipe = replace(PARTED, data=_at(rank, place, (int(signal.SIGKILL),), run))
        with row.attempt(f"rank {rank}, {place}"):
            ended = _ends(recipe, run, slowest)
            assert ended[rank][0] == -signal.SIGKILL, ended
            status, words = ended[1 - rank]
            assert status == 2, ended
            assert "lost the others" in words, words
            _resumes(recipe, run, whole)
    row.notes["slowest, start and end of all ranks, seconds"] = round(slowest[0], 1)
    return row


def not_finite(work: Path, steps: tuple[int, ...] = (1, 3)) -> Row:
    """NaN and infinity in a sample or a gradient of one rank; extreme predicted variances."""
    row = Row(
        "NaN or infinity in a sample or a gradient of one rank of two; logvar at ±1e4",
        "the step changes nothing but a counter, on both ranks; many in a row stop, with the "
        "samples named",
    )
    asked = itertools.product(("nan", "inf", "-inf"), ("data wait", "backward"), (0, 1), steps)
    every = replace(PARTED, checkpoint_every=1, snapshot_every=0)
    for number, (value, place, rank, at_step) in enumerate(asked):
        run = work / str(number)
        recipe = replace(every, data=_at(rank, place, (value,), run, at_step), steps=at_step + 1)
        with row.attempt(f"{value}, rank {rank}, {place}, step {at_step + 1}"):
            assert train_on(2, recipe, run) == [(0, "")] * 2
            *_, earlier, later = checkpoints(run)
            assert_same(earlier, later)
            lines = (run / "metrics.jsonl").read_text().splitlines()
            assert json.loads(lines[-1])["failed_steps"] == 1
    for rank in (0, 1):
        with row.attempt(f"in a row, rank {rank}"):
            run = work / f"row-{rank}"
            data = replace(_at(rank, "data wait", ("nan",), run), once="")
            recipe = replace(PARTED, data=data, max_failed_steps=1)
            ended = train_on(2, recipe, run)
            assert {status for status, _ in ended} == {2}, ended
            named = [json.loads(x) for x in (run / "failed-steps.jsonl").read_text().splitlines()]
            samples = Digits().open().sample_names(BatchSpec(3, recipe.batch_size, recipe.seed))
            assert [(one["step"], one["samples"]) for one in named] == [(4, samples)]
    for extreme in (-1e4, 1e4):
        with row.attempt(f"logvar {extreme:g}"):
            _extreme_logvar(extreme)
    return row


def _extreme_logvar(extreme: float) -> None:
    """A step whose network predicts that everywhere moves all weights or none, never to NaN."""
    data = Digits().open()
    state = initial_state(TINY, data, "cpu")
    end = state.model.final_layer.linear
    with torch.no_grad():
        end.bias.view(state.model.patch_size**2, -1)[:, -1] = extreme
    start = [weight.clone() for weight in state.model.parameters()]
    terms, norm = TrainStep(state, TINY, "cpu")(data.batch(BatchSpec(0, TINY.batch_size, 0)), 0)
    weights = [*state.model.parameters()]
    assert all(weight.isfinite().all() for weight in weights)
    finite = bool(terms.total.isfinite() and norm.isfinite())
    same = all(a.equal(b) for a, b in zip(weights, start, strict=True))
    assert same != finite, f"loss {terms.total}, moved: {not same}"


def out_of_memory(work: Path, rooms: tuple[int, ...] = (2**28, 3 * 2**27, 2**29)) -> Row:
    """A step that does not fit: the kernel refuses memory."""
    row = Row(
        "a step that does not fit into memory",
        "the message names options with values; with less memory in use afterwards, a smaller "
        "step runs in the same process",
    )
    wide = Network(patch_size=1, hidden_size=256, depth=8, num_heads=2)
    recipe = replace(TINY, network=wide, batch_size=1024, steps=1)
    few = replace(recipe, batch_size=2)

    for room in rooms:

        def task(room: int = room) -> None:
            torch.set_num_threads(1)
            train("few", few, work / f"{room}-few", progress=False)
            with little_memory(room):
                try:
                    train("many", recipe, work / f"{room}-many", progress=False)
                except UserError as error:
                    words = str(error)
                else:
                    raise AssertionError("it fitted")
                assert "--accumulate 2 (512 images" in words, words
                train("few", few, work / f"{room}-again", progress=False)

        with row.attempt(f"{room} bytes"):
            ended = run_child(task)
            assert ended.status == 0, ended.text
    return row


def lost_data(work: Path) -> Row:
    """A file of the data goes away while a run reads it."""
    row = Row(
        "a shard of the data disappears in some step, for good or until the next command",
        "the run goes on with what it has, or ends with the reason; never a hang",
    )
    stopped = 0
    for at_step in (1, 3, 5):
        folder = work / str(at_step)
        tar, aside = folder / "images.tar", folder / "aside"
        shard(tar, samples(120, classes=2))  # more than the run shows
        network = replace(TINY.network, patch_size=8)
        data = ShardsSource(path=str(tar), size=16)
        recipe = replace(TINY, data=data, network=network, steps=8)
        task = training(recipe, folder / "run")
        with row.attempt(f"before step {at_step + 1}"):
            ended = run_child(before(recipe, at_step, partial(tar.rename, aside), task))
            assert ended.status in (0, 2), ended.text
            if ended.status == 2:
                stopped += 1
                assert tar.name in ended.text, ended.text
                aside.rename(tar)
                ended = run_child(task)
                assert ended.status == 0, ended.text
    row.notes["stopped with the reason, and went on once it was back"] = stopped
    return row
