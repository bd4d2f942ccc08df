"""Files that are damaged, made to do harm, or mistaken."""

import dataclasses
import json
import logging
import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.faults.harm import watch
from benchmarks.faults.hostile_files import TRAIN, cases
from benchmarks.faults.rows import Row, whole_run
from benchmarks.faults.system_calls import run_child
from patch_forcing.cli.main import run as command
from patch_forcing.core.errors import UserError
from patch_forcing.io.run_layout import newest_sound
from patch_forcing.runs.changed_recipe import BEFORE
from patch_forcing.runs.recipe import Network
from patch_forcing.runs.recipes import RECIPES
from patch_forcing.runs.run_folder import open_run
from tests.support.tiny import TINY


def damaged(work: Path, flips: int, network: Network = TINY.network) -> Row:
    """A checkpoint with one bit flipped, many times, or cut at every 4 KiB of every file."""
    row = Row("one bit of a checkpoint flipped; a file of it cut at every 4 KiB", "found by "
              "checksum; the one before is used, the file named")  # fmt: skip
    draw, run = random.Random(0), work / "run"
    newest = whole_run(replace(TINY, steps=4, network=network), run)
    before = newest.with_name("step-00000002")
    files = sorted(file for file in newest.rglob("*") if file.is_file())
    whole = {file: file.read_bytes() for file in files}
    starts = [(file, cut) for file in files for cut in range(0, len(whole[file]), 4096)]
    sizes = [len(data) for data in whole.values()]
    named, log = list[str](), logging.getLogger("patch_forcing")
    log.addFilter(lambda record: bool(named.append(record.getMessage())))
    for number in range(flips + len(starts)):
        if number < flips:
            # every tenth in a small file, where chance would hardly lead
            file = draw.choice(files) if number % 10 == 0 else draw.choices(files, sizes)[0]
            bit = draw.randrange(8 * len(whole[file]))
            with file.open("r+b") as stream:
                stream.seek(bit // 8)
                stream.write(bytes([whole[file][bit // 8] ^ 1 << bit % 8]))
            what = f"bit {bit} of {file.name}"
        else:
            file, cut = starts[number - flips]
            os.truncate(file, cut)
            what = f"{file.name} cut at {cut}"
        with row.attempt(what):
            named.clear()
            assert newest_sound(run) == before
            assert len(named) == 1
            # a manifest that still reads accuses another file, or one that is not there
            assert str(newest if file.name == "manifest.json" else file) in named[0], named
        file.write_bytes(whole[file])
    log.filters.clear()
    assert newest_sound(run) == newest
    row.notes = {"flips": flips, "cuts": len(starts), "bytes": sum(sizes)}
    return row


def fields_of(value: object, prefix: str = "") -> Iterator[str]:
    """Every field of a recipe, dotted."""
    for one in dataclasses.fields(value):  # type: ignore[arg-type]
        inner = getattr(value, one.name)
        if dataclasses.is_dataclass(inner):
            yield from fields_of(inner, f"{prefix}{one.name}.")
        else:
            yield prefix + one.name


def hostile(work: Path) -> Row:
    """Files made to do harm, loaded by the commands that users type."""
    row = Row("malicious pickles, target: strings, path traversal, bombs", "nothing is executed, "
              "nothing written outside; what is not whole is refused in one line")  # fmt: skip
    names = list(cases(work, work))
    log = work / "outcomes.jsonl"
    ended = run_child(lambda: _load_hostile(work, log))
    outcomes = [json.loads(line) for line in log.read_text().splitlines()]
    for name, refused, wrong in outcomes:
        with row.attempt(name):
            assert not wrong, wrong
        row.notes[name] = "refused" if refused else "loaded, harmless"
    assert ended.status == 0 and len(outcomes) == len(names), ended.text
    return row


def _load_hostile(work: Path, log: Path) -> None:
    torch.set_num_threads(1)
    os.environ["PATCH_FORCING_COMMIT"] = "none"  # asks no git
    here, outside = work / "here", work / "outside"
    here.mkdir()
    outside.mkdir()
    canary = outside / "canary"
    executed: list[str] = []
    all_cases = cases(here, canary)
    command(["train", "digits", *TRAIN, "--steps", "1", "--out", str(here / "warm")])
    watch(canary, executed)
    os.chdir(here)
    with log.open("w") as stream:
        for name, load in all_cases.items():
            executed.clear()
            refused, wrong = False, ""
            try:
                refused = load()
            except BaseException as error:
                wrong = f"{type(error).__name__}: {error}"[:300]
            seen = sorted(path.name for path in work.iterdir())
            if executed or canary.exists() or seen != sorted(["here", "outside", log.name]):
                wrong += f" executed {executed}, canary {canary.exists()}, {seen}"
            canary.unlink(missing_ok=True)
            if [path for path in outside.iterdir() if path.name != "linked"]:
                wrong += " written outside"
            json.dump([name, refused, wrong], stream)
            stream.write("\n")
            stream.flush()


def mistaken_keys(work: Path, every: int, recipes: Sequence[str] = tuple(RECIPES)) -> Row:
    """Each field of these recipes: mistyped or without a value to the command, or in run.json.

    every: which of the fields are mistyped to the command too.
    """
    row = Row("a mistyped, renamed or missing key of every recipe field", "an error before any "
              "work, the nearest key named")  # fmt: skip
    for name in recipes:
        recipe = RECIPES[name].recipe
        run = work / name
        open_run(run, name, recipe)
        (run / "checkpoints/step-00000001").mkdir(parents=True)  # else the run may be changed
        whole = (run / "run.json").read_text()
        for number, key in enumerate(fields_of(recipe)):
            wrong = mistyped(key)
            for renamed in (wrong, f"{key}_value", None):
                with row.attempt(f"{name} run.json {key} as {renamed}"):
                    (run / "run.json").write_text(json.dumps(_renamed(whole, key, renamed)))
                    # the newest fields are missing in older runs, which mean what was done then
                    older = renamed is None and key in BEFORE
                    advice = renamed is None and key.startswith("recommended.")  # it may change
                    if advice or (older and _as_recorded(recipe, key) == BEFORE[key]):
                        open_run(run, name, recipe)
                        continue
                    error = _refusal(lambda r=run, n=name, c=recipe: open_run(r, n, c))
                    assert (f" {key}={BEFORE[key]!r}," if older else repr(key)) in error, error
            if number % every:
                continue
            option = f"--{key.replace('_', '-')}"
            before = sorted(work.rglob("*"))
            for typed in (f"--{wrong.replace('_', '-')}", f"{option}-value", option):
                line = ["train", name, "--out", str(work / "never"), typed]
                with row.attempt(" ".join(line)):
                    value = _get(recipe, key) if typed == option else None
                    takes_none = isinstance(value, bool | tuple)  # then something else is wrong
                    extra = ["maybe"] * isinstance(value, bool)
                    error = _refusal(lambda a=[*line, *extra]: command(a))
                    assert takes_none or f"'{option}'" in error, error
                    assert sorted(work.rglob("*")) == before, "work was done"
    return row


def mistyped(key: str) -> str:
    """Two neighbouring letters of the last part change places."""
    head, dot, last = key.rpartition(".")
    for place in range(len(last) - 1, 0, -1):
        swapped = last[: place - 1] + last[place] + last[place - 1] + last[place + 1 :]
        if swapped != last:
            return head + dot + swapped
    return f"{key}x"


def _renamed(text: str, key: str, new: str | None) -> dict[str, object]:
    record: dict[str, object] = json.loads(text)
    *parents, last = key.split(".")
    place: dict = record["recipe"]  # type: ignore[assignment, type-arg]
    for parent in parents:
        place = place[parent]
    value = place.pop(last)
    if new is not None:
        place[new.rpartition(".")[2]] = value
    return record


def _as_recorded(recipe: object, key: str) -> object:
    """As run.json has it, which knows no tuples."""
    value = _get(recipe, key)
    return list(value) if isinstance(value, tuple) else value


def _get(value: object, key: str) -> object:
    for part in key.split("."):
        value = getattr(value, part)
    return value


def _refusal(act: Callable[[], object]) -> str:
    """The one line that it is refused with."""
    try:
        act()
    except UserError as error:
        assert len(str(error).splitlines()) == 1
        return str(error)
    raise AssertionError("not refused")
